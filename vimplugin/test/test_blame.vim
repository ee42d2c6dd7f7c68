" Who wrote what is shown behind the lines, and a revert asks first.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')

" What is drawn: [lnum, text, colour group] of each line.
function! s:drawn() abort
    if has('nvim')
        return luaeval('require("covim").authors(_A)', bufnr('%'))
    endif
    let l:found = []
    for l:prop in prop_list(1, {'end_lnum': line('$')})
        if l:prop.type =~# '^covim_blame'
            call add(l:found, [l:prop.lnum, 'CoVimB' . l:prop.type[7:]])
        endif
    endfor
    " Vim does not tell what such text says.
    let l:texts = {}
    for l:item in covim#blame#items(bufnr('%'))
        let l:texts[l:item[0]] = l:item[1]
    endfor
    return map(l:found, '[v:val[0], get(l:texts, v:val[0], ""), v:val[1]]')
endfunction

function! s:answer(lines, ...) abort
    call Ask('test/answer', {'method': 'authors', 'result': {'lines': a:lines,
                \ 'people': a:0 ? a:1 : [
                \ {'name': 'Ann', 'fingerprint': 'aaaaa-aaaaa', 'colour': 3, 'you': v:false},
                \ {'name': 'tester', 'fingerprint': 'bbbbb-bbbbb', 'colour': 5, 'you': v:true},
                \ {'name': '', 'fingerprint': 'ccccc-ccccc', 'colour': 8, 'you': v:false}]}})
endfunction

function! Test_who_wrote_a_line_is_behind_it() abort
    call Share(['one', 'two', '', 'four', 'five'])
    call s:answer([[3, 1], [1, 2, 2, 1], [], [4, 0], [1, 3, 2, 2, 1, 1, 1, 0]])
    CoVim blame
    call WaitFor('len(' . expand('<SID>') . 'drawn()) == 4')
    call assert_equal([[1, 'Ann', 'CoVimBlame3'], [2, 'Ann, you', 'CoVimBlame3'],
                \ [4, 'unknown', 'CoVimBlame0'],
                \ [5, 'you, unknown +2', 'CoVimBlame5']], s:drawn())
    " The text of the buffer is what it was.
    call assert_equal(['one', 'two', '', 'four', 'five'], getline(1, '$'))
    CoVim blame
    call assert_equal([], s:drawn())
    call assert_equal(0, covim#blame#shown(bufnr('%')))
endfunction

function! Test_edits_bring_it_up_to_date_at_a_bounded_rate() abort
    call Share(['one', 'two'])
    call s:answer([[3, 1], [3, 2]])
    CoVim blame
    call WaitFor('len(' . expand('<SID>') . 'drawn()) == 2')
    call Ask('test/log', {})
    call s:answer([[3, 3], [3, 1], [3, 2]])
    for l:i in range(20)
        call Remote([1, 0, 1, 0], 'x')
    endfor
    call Remote([1, 0, 1, 20], "new\n")
    call WaitFor(expand('<SID>') . 'drawn() ==# [[1, "[ccccc]", "CoVimBlame8"], '
                \ . '[2, "Ann", "CoVimBlame3"], [3, "you", "CoVimBlame5"]]')
    call assert_true(len(Logged('authors')) <= 10)
    " Nothing changes: nobody asks.
    sleep 500m
    call Ask('test/log', {})
    sleep 500m
    call assert_equal([], Logged('authors'))
    " Lines go, and what was behind them.
    call s:answer([[3, 2]])
    %delete
    call setline(1, 'all')
    call WaitFor(expand('<SID>') . 'drawn() ==# [[1, "you", "CoVimBlame5"]]')
    CoVim leave
    call assert_equal([], s:drawn())
endfunction

function! Test_strange_answers_do_no_harm() abort
    call Share(['one', 'two'])
    call s:answer([[3, 1], 7, [3, 1], [3, 1]], [{'name': "A\e[31m\n%{x}", 'colour': -9}])
    CoVim blame
    call WaitFor('!empty(' . expand('<SID>') . 'drawn())')
    call assert_equal([[1, 'A^[[31m^@%{x}']], map(s:drawn(), 'v:val[:1]'))
    call s:answer([['x', {}], [3], [1, -5], [1, 99]], ['no', 'dict'])
    call setline(1, 'change')
    call WaitFor('empty(' . expand('<SID>') . 'drawn())')
    call Ask('test/answer', {'method': 'authors', 'result': {'lines': 3, 'people': {}}})
    call setline(1, 'again')
    sleep 500m
    call assert_equal([], s:drawn())
endfunction

function! Test_the_authors_of_a_range_are_echoed() abort
    call assert_match('not shared', join(Say('CoVim blame')))
    call Share(['one', 'two', 'three'])
    call s:answer([[3, 1], [2, 1, 1, 2]])
    call assert_match('Ann \[aaaaa\] 2 lines, 5 bytes; you 1 line, 1 byte', join(Say('1,2CoVim blame')))
    call assert_match('Ann', join(Say('CoVim blame!')))
    let l:asked = Logged('authors')
    call assert_equal([[1, 2], [1, 1]], map(l:asked, '[v:val[1].lo, v:val[1].hi]'))
    call s:answer([[]])
    call assert_match('nobody', join(Say('CoVim blame!')))
endfunction

function! s:reverted(whole) abort
    return {'name': 'Ann', 'fingerprint': 'aaaaa-aaaaa', 'removed': 2,
                \ 'removed_bytes': 9, 'restored': 1, 'restored_bytes': 1,
                \ 'whole': a:whole, 'undoable': v:true, 'cursor': [2, 1]}
endfunction

function! Test_a_revert_is_told_and_goes_to_where_it_was() abort
    call Share(['one', 'two'])
    call Ask('test/answer', {'method': 'revert', 'result': s:reverted(v:true)})
    call assert_match('covim: reverted 2 insertions, 1 deletion by Ann$',
                \ join(Say('CoVim revert! Ann')))
    call assert_equal([2, 2], [line('.'), col('.')])
    let l:asked = Logged('revert')
    call assert_equal(1, len(l:asked))
    call assert_equal('Ann', l:asked[0][1].name)
    call Ask('test/answer', {'method': 'revert', 'result': s:reverted(v:false)})
    CoVim revert! Ann
    call assert_match('not seen from here are not known', Log())
    call assert_match('whom', join(Say('CoVim revert')))
    call Ask('test/refuse', {'method': 'revert', 'code': -32004,
                \ 'message': 'several are called so: Ann [a] Ann [b]', 'hint': 'say more'})
    call assert_match('several are called so: Ann \[a\] Ann \[b\] (say more)',
                \ join(Say('CoVim revert! Ann')))
endfunction

function! Test_without_a_bang_it_asks_first_and_a_viewer_may_not() abort
    call Share(['one', 'two'])
    call Ask('test/answer', {'method': 'revert', 'result': s:reverted(v:true)})
    " Nobody is there to answer: nothing is changed.
    silent! CoVim revert Ann
    let l:asked = Logged('revert')
    call assert_equal([v:true], map(l:asked, 'get(v:val[1], "dry", v:false)'))
    call Ask('test/send', {'method': 'role', 'params': {'session': Doc().session,
                \ 'doc': Doc().doc, 'role': 'viewer'}})
    call WaitFor('Doc().role ==# "viewer"')
    call assert_match('may read', join(Say('CoVim revert! Ann')))
    call assert_equal([], Logged('revert'))
endfunction

function! Test_names_are_completed() abort
    call Share(['one'])
    call s:answer([], [
                \ {'name': 'Ann Lee', 'fingerprint': 'aaaaa-aaaaa', 'colour': 1, 'you': v:false},
                \ {'name': 'Bob', 'fingerprint': 'bbbbb-bbbbb', 'colour': 1, 'you': v:false},
                \ {'name': 'Bob', 'fingerprint': 'ccccc-ccccc', 'colour': 1, 'you': v:false},
                \ {'name': '', 'fingerprint': 'ddddd-ddddd', 'colour': 1, 'you': v:false},
                \ {'name': 'tester', 'fingerprint': 'eeeee-eeeee', 'colour': 1, 'you': v:true}])
    call assert_equal(['Ann Lee', 'bbbbb-bbbbb', 'ccccc-ccccc', 'ddddd-ddddd'],
                \ covim#command#complete('', 'CoVim revert ', 13))
    call assert_equal(['Lee'], covim#command#complete('L', 'CoVim revert Ann L', 18))
    call assert_equal(['Ann Lee'], covim#command#complete('A', 'CoVim revert! A', 15))
    call assert_equal([], covim#command#complete('Z', 'CoVim revert Z', 14))
endfunction

call RunTests()

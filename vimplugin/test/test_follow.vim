" To where somebody is: once, and all the time.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')

function! s:join(id, name, print) abort
    call covim#dispatch('peer', {'session': Doc().session, 'id': a:id,
                \ 'name': a:name, 'fingerprint': a:print, 'role': 'editor',
                \ 'path': 'direct', 'rtt_ms': 5, 'state': 'joined'})
endfunction

" [id, line, column]: where they are.
function! s:are(...) abort
    call covim#dispatch('presence', {'doc': Doc().doc, 'epoch': Doc().epoch,
                \ 'peers': map(copy(a:000), '{"peer": v:val[0], "name": "x",'
                \ . ' "colour": 1, "mode": "n",'
                \ . ' "ranges": [[v:val[1], v:val[2], v:val[1], v:val[2]]]}')})
endfunction

function! s:two() abort
    call Share(map(range(200), '"line " . v:val'))
    call s:join(5, 'Ann', 'aaaaa-11111')
    call s:join(6, 'Bob Bee', 'bbbbb-22222')
    call s:are([5, 150, 3], [6, 20, 1])
    call cursor(1, 1)
endfunction

" As Vim does when it waits for the next key.
function! s:keys(keys) abort
    execute 'normal!' a:keys
    doautocmd <nomodeline> CursorMoved
endfunction

function! Test_a_jump_goes_where_somebody_is_and_comes_back() abort
    call s:two()
    CoVim jump Ann
    call assert_equal([150, 4], [line('.'), col('.')])
    call assert_true(line('w0') <= 150 && line('w$') >= 150)
    execute "normal! \<C-o>"
    call assert_equal(1, line('.'))
    CoVim jump Bob Bee
    call assert_equal([20, 2], [line('.'), col('.')])
    CoVim jump aaaa
    call assert_equal(150, line('.'))
    call assert_equal('', covim#follow#whom())
endfunction

function! Test_who_is_meant_must_be_clear() abort
    call assert_match('no session', join(Say('CoVim jump Ann')))
    call Share(['x'])
    call assert_match('nobody else is here', join(Say('CoVim follow')))
    call s:join(5, 'Ann', 'aaaaa-11111')
    call assert_match('Ann is not in this text now', join(Say('CoVim jump')))
    call s:join(6, 'Bob', 'bbbbb-22222')
    call s:join(7, 'Bob', 'bbbbb-33333')
    call assert_match('whom? Ann, Bob, Bob', join(Say('CoVim jump')))
    call assert_match('Cy is not here, but Ann, Bob, Bob', join(Say('CoVim follow Cy')))
    call assert_match('give the beginning of the fingerprint: bbbbb-\d* *, bbbbb-', join(Say('CoVim jump Bob')))
    call assert_match('is not here', join(Say('CoVim jump bbb')))
    call assert_equal(['Ann', 'Bob', 'Bob'], covim#command#complete('', 'CoVim follow ', 13))
    call s:join(6, 'Bob Bee', 'bbbbb-22222')
    call assert_equal(['Bee'], covim#command#complete('Be', 'CoVim jump Bob Be', 17))
    call assert_match('this window follows nobody', join(Say('CoVim unfollow')))
endfunction

function! Test_a_window_follows_until_the_user_moves() abort
    call s:two()
    CoVim follow Ann
    call assert_equal([150, 4], [line('.'), col('.')])
    call assert_match(' follows Ann$', covim#statusline())
    call s:are([5, 80, 0], [6, 20, 1])
    call assert_equal([80, 1], [line('.'), col('.')])
    doautocmd <nomodeline> CursorMoved
    call s:are([5, 81, 99], [6, 20, 1])
    call assert_equal(81, line('.'))
    doautocmd <nomodeline> CursorMoved
    call assert_equal('Ann', covim#follow#whom())
    " Somewhere else for a while: the window stays.
    call s:are([6, 20, 1])
    call assert_equal([81, 'Ann'], [line('.'), covim#follow#whom()])
    call s:are([5, 90, 0])
    call assert_equal(90, line('.'))
    call s:keys('j')
    call assert_equal('', covim#follow#whom())
    call assert_match('no longer following Ann', Log())
    call assert_notmatch('follows', covim#statusline())
    call s:are([5, 10, 0])
    call assert_equal(91, line('.'))
endfunction

function! Test_what_else_ends_it() abort
    call s:two()
    for l:end in ['CoVim unfollow', 'doautocmd <nomodeline> InsertEnter',
                \ 'call setline(".", "changed") | call covim#doc#flush(bufnr("%"))',
                \ 'call covim#dispatch("peer", {"session": Doc().session, "id": 5, "state": "left"})',
                \ 'enew!', 'CoVim leave']
        if l:end ==# 'enew!'
            call s:join(5, 'Ann', 'aaaaa-11111')
        endif
        CoVim follow Ann
        call assert_equal('Ann', covim#follow#whom(), l:end)
        execute l:end
        call assert_equal('', covim#follow#whom(), l:end)
        if l:end ==# 'enew!'
            bprevious
            call s:keys('j')
            call assert_equal('', covim#follow#whom(), l:end)
        endif
    endfor
    call assert_false(exists('w:covim_follow'))
endfunction

function! Test_text_of_others_does_not_end_it() abort
    call s:two()
    CoVim follow Ann
    call Remote([1, 0, 1, 0], "new\nlines\n")
    call assert_equal(152, line('.'))
    doautocmd <nomodeline> CursorMoved
    call assert_equal('Ann', covim#follow#whom())
    call Remote([152, 0, 152, 6], '')
    doautocmd <nomodeline> CursorMoved
    call assert_equal('Ann', covim#follow#whom())
endfunction

function! Test_other_windows_stay() abort
    call s:two()
    CoVim follow Ann
    let l:follows = win_getid()
    split
    call assert_equal('', covim#follow#whom())
    call cursor(3, 1)
    call s:are([5, 60, 0])
    call assert_equal(3, line('.'))
    call assert_equal(60, line('.', l:follows))
    call s:keys('j')
    call s:are([5, 61, 0])
    call assert_equal([4, 61], [line('.'), line('.', l:follows)])
    call win_gotoid(l:follows)
    call assert_equal('Ann', covim#follow#whom())
endfunction

" Where the agent was told that we are.
function! s:told() abort
    let l:cursor = Ask('test/text', {'doc': Doc().doc}).cursor
    return type(l:cursor) == type({}) ? l:cursor.ranges : [[]]
endfunction

function! Test_who_follows_is_nowhere_for_the_others() abort
    call s:two()
    call covim#view#send_soon(bufnr('%'))
    call WaitFor(expand('<SID>') . 'told() == [[1, 0, 1, 0]]')
    CoVim follow Ann
    call WaitFor(expand('<SID>') . 'told() == []')
    CoVim unfollow
    call WaitFor(expand('<SID>') . 'told() == [[150, 3, 150, 3]]')
endfunction

function! Test_the_window_of_peers_leads_there() abort
    call s:two()
    let l:text = win_getid()
    CoVim peers
    call assert_equal('covim-peers', bufname('%'))
    call search('^Bob Bee')
    execute "normal \<CR>"
    call assert_equal([l:text, 20], [win_getid(), line('.')])
    CoVim peers
    call win_gotoid(bufwinid('covim-peers'))
    call search('^Ann')
    normal f
    call assert_equal([l:text, 150, 'Ann'], [win_getid(), line('.'), covim#follow#whom()])
    " It is kept up to date, and the cursor stays with its line.
    call win_gotoid(bufwinid('covim-peers'))
    let l:line = line('.')
    call win_gotoid(l:text)
    call s:are([5, 77, 0], [6, 20, 1])
    call assert_match('^Ann .*:77 ', join(getbufline('covim-peers', l:line)))
    call assert_equal(l:line, line('.', bufwinid('covim-peers')))
    call covim#dispatch('peer', {'session': Doc().session, 'id': 6, 'state': 'left'})
    call assert_equal(1, len(getbufline('covim-peers', 1, '$')))
    call covim#dispatch('knock', {'id': 3, 'session': Doc().session, 'name': 'Cy', 'fingerprint': 'ccccc'})
    call win_gotoid(bufwinid('covim-peers'))
    quit
    CoVim peers
    call search('^Cy')
    execute "normal \<CR>"
    call assert_equal('covim-peers', bufname('%'))
endfunction

call RunTests()

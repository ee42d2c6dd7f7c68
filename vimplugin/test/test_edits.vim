" Edits of others: every window, mark, fold, property and undo step is where
" it was, on the text that it was on.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')

function! s:edit(range, text) abort
    call Remote(a:range, a:text)
endfunction

function! Test_shift_moves_places_with_their_text() abort
    let l:insert = {'l1': 2, 'c1': 3, 'l2': 2, 'c2': 3, 'el': 2, 'ec': 5}
    let l:lines = {'l1': 2, 'c1': 3, 'l2': 2, 'c2': 3, 'el': 4, 'ec': 1}
    let l:delete = {'l1': 2, 'c1': 3, 'l2': 4, 'c2': 2, 'el': 2, 'ec': 3}
    for [l:edit, l:lnum, l:col, l:stay, l:want] in [
                \ [l:insert, 1, 9, 0, [1, 9]], [l:insert, 2, 2, 0, [2, 2]],
                \ [l:insert, 2, 3, 0, [2, 5]], [l:insert, 2, 3, 1, [2, 3]],
                \ [l:insert, 2, 4, 1, [2, 6]], [l:insert, 3, 0, 0, [3, 0]],
                \ [l:lines, 2, 3, 0, [4, 1]], [l:lines, 2, 7, 0, [4, 5]],
                \ [l:lines, 3, 7, 0, [5, 7]], [l:lines, 2, 3, 1, [2, 3]],
                \ [l:delete, 2, 1, 0, [2, 1]], [l:delete, 2, 9, 0, [2, 3]],
                \ [l:delete, 3, 4, 0, [2, 3]], [l:delete, 4, 1, 0, [2, 3]],
                \ [l:delete, 4, 2, 0, [2, 3]], [l:delete, 4, 6, 0, [2, 7]],
                \ [l:delete, 7, 6, 0, [5, 6]]]
        call assert_equal(l:want, covim#apply#shift(l:lnum, l:col, l:edit,
                    \ l:stay), string([l:edit, l:lnum, l:col, l:stay]))
    endfor
endfunction

function! Test_edits_of_all_shapes() abort
    let l:text = ['one', 'twö', '', 'four', 'five']
    call Share(l:text)
    for [l:range, l:insert] in [[[1, 0, 1, 0], "x"], [[1, 0, 1, 0], "\n"],
                \ [[1, 0, 1, 0], "a\nb\n"], [[2, 4, 2, 4], "\nz"],
                \ [[3, 0, 3, 0], "日本\n\n"], [[1, 1, 4, 2], ''],
                \ [[1, 0, 1, 3], ''], [[1, 0, 2, 0], ''], [[4, 4, 5, 4], ''],
                \ [[5, 4, 5, 4], "\n"], [[5, 4, 5, 4], "\nmore\nlines"],
                \ [[1, 0, 5, 4], ''], [[2, 1, 4, 1], "1\n2\n3\n4"],
                \ [[2, 0, 4, 0], "A\nB\n"]]
        call setline(1, l:text)
        silent! execute (len(l:text) + 1) . ',$delete _'
        call s:edit(l:range, l:insert)
        let l:want = join(l:text[: l:range[0] - 1], "\n")
        let l:want = strpart(l:want, 0, len(l:want) - len(l:text[l:range[0] - 1]) + l:range[1])
                    \ . l:insert . strpart(l:text[l:range[2] - 1], l:range[3])
                    \ . join([''] + l:text[l:range[2] :], "\n")
        call assert_equal(split(l:want, "\n", 1), getline(1, '$'), string([l:range, l:insert]))
        call assert_equal(getline(1, '$'), Agent().truth)
    endfor
endfunction

" Each window shows the same lines, its cursor on the same character.
function! Test_views_of_all_windows() abort
    call Share(map(range(1, 300), '"line " . v:val . " alpha beta"'))
    set scrolloff=0
    split
    vsplit
    let l:wins = win_findbuf(bufnr('%'))
    call assert_equal(3, len(l:wins))
    let l:at = 60
    for l:win in l:wins
        call win_execute(l:win, 'call winrestview({"topline": ' . l:at
                    \ . ', "lnum": ' . (l:at + 2) . ', "col": 5})')
        let l:at += 80
    endfor
    let l:n = 0
    for [l:range, l:insert] in [[[1, 0, 1, 0], "NEW\n"], [[30, 0, 40, 0], ''],
                \ [[100, 2, 100, 2], "x\ny\nz"], [[1, 0, 1, 0], repeat("n\n", 40)],
                \ [[290, 0, 290, 0], "end\n"], [[20, 3, 24, 2], 'q'],
                \ [[90, 0, 95, 0], '']]
        let l:before = map(copy(l:wins), {_, w -> s:look(w)})
        call s:edit(l:range, l:insert)
        let l:after = map(copy(l:wins), {_, w -> s:look(w)})
        call assert_equal(l:before, l:after, string([l:range, l:insert]))
    endfor
    call assert_equal(getline(1, '$'), Agent().truth)
endfunction

" What a window shows: its first line, and the cursor's line and column.
function! s:look(win) abort
    call win_execute(a:win, 'let g:view = winsaveview()')
    return [getline(g:view.topline), getline(g:view.lnum), g:view.col,
                \ g:view.curswant]
endfunction

" Lines `first` to `last` become `lines`: many changes of others that came as
" one.  The made-up agent knows nothing of it.
function! s:join(first, last, lines) abort
    let l:d = Doc()
    let l:want = getline(1, a:first - 1) + a:lines + getline(a:last + 1, '$')
    call covim#dispatch('edit', {'doc': l:d.doc, 'epoch': l:d.epoch,
                \ 'erev': l:d.erev, 'joined': v:true, 'text': join(a:lines, "\n"),
                \ 'range': [a:first, 0, a:last, len(getline(a:last))]})
    let [l:d.rev, l:d.acked] = [0, 0]
    call assert_true(l:want ==# getline(1, '$'))
endfunction

function! Test_joined_changes_leave_cursors_in_their_lines() abort
    call Share(map(range(1, 300), '"line " . v:val . " alpha beta"'))
    set scrolloff=0
    split
    vsplit
    let l:wins = win_findbuf(bufnr('%'))
    let l:at = 61
    for l:win in l:wins
        call win_execute(l:win, 'call winrestview({"topline": ' . l:at
                    \ . ', "lnum": ' . (l:at + 2) . ', "col": 5})')
        let l:at += 80
    endfor
    " As many lines as before: some of them differ.
    let l:before = map(copy(l:wins), {_, w -> s:place(w)})
    call s:join(5, 290, map(getline(5, 290),
                \ {i, line -> i % 3 ? line : toupper(line)}))
    call assert_equal(l:before, map(copy(l:wins), {_, w -> s:place(w)}))
    " Fewer, and more: each window shows what it showed.
    let l:before = map(copy(l:wins), {_, w -> s:look(w)})
    call s:join(5, 290, filter(getline(5, 290), 'v:val !~# "[579] "'))
    call assert_equal(l:before, map(copy(l:wins), {_, w -> s:look(w)}))
    let l:more = []
    for l:line in getline(2, 180)
        call extend(l:more, [l:line, '', '    -- ' . l:line])
    endfor
    call s:join(2, 180, l:more)
    call assert_equal(l:before, map(copy(l:wins), {_, w -> s:look(w)}))
    " The line of the cursor goes: it is on the next one that stays.
    call cursor(20, 3)
    let l:next = getline(22)
    call s:join(10, 100, filter(getline(10, 100), {i, _ -> i != 10 && i != 11
                \ && i != 50}))
    call assert_equal([20, l:next], [line('.'), getline('.')])
    " What comes in the line itself moves the cursor as any edit does.
    for [l:was, l:is, l:col, l:want] in [['one two', "\tone two", 5, 6],
                \ ['one two', 'one two three', 5, 5], ['one two', 'two', 5, 1],
                \ ['one two', 'two', 1, 0], ['é two', 'éé two', 3, 5],
                \ ['one two', 'one', 5, 2], ['same', 'same', 2, 2],
                \ ['abcd', 'abXYcZ', 3, 3],
                \ ['a bc d', 'a d', 3, 2], ['a bcd', 'A BCD', 3, 3]]
        call s:join(30, 30, [l:was])
        call cursor(30, l:col + 1)
        call s:join(20, 40, map(getline(20, 40),
                    \ {i, line -> i == 10 ? l:is : line . '.'}))
        call assert_equal([30, l:want], [line('.'), col('.') - 1],
                    \ string([l:was, l:is, l:col]))
    endfor
endfunction

" Where the first line and the cursor of a window are.
function! s:place(win) abort
    call win_execute(a:win, 'let g:view = winsaveview()')
    return [g:view.topline, g:view.lnum, g:view.col]
endfunction

function! Test_properties_stay_between_joined_changes() abort
    if has('nvim')
        return
    endif
    call Share(map(range(1, 300), '"line " . v:val . " alpha beta"'))
    call prop_type_add('other', {'highlight': 'Search'})
    for l:lnum in [7, 100, 289]
        call prop_add(l:lnum, 6, {'type': 'other', 'id': l:lnum, 'length': 3})
    endfor
    call s:join(5, 290, map(getline(5, 290),
                \ {i, line -> i % 2 ? line : toupper(line)}))
    call assert_equal([[7, 6, 3], [100, 6, 3], [289, 6, 3]],
                \ map(prop_list(1, {'end_lnum': -1, 'types': ['other']}),
                \ '[v:val.lnum, v:val.col, v:val.length]'))
    " Of more than can be looked for, none is left in a wrong place.
    call prop_add(50, 1, {'type': 'other', 'length': 4})
    for l:i in range(200)
        call prop_add(60, 1 + l:i % 9, {'type': 'other', 'id': l:i, 'length': 1})
    endfor
    call s:join(5, 290, filter(getline(5, 290), {i, _ -> i % 5}))
    call assert_equal([], prop_list(5, {'end_lnum': 200, 'types': ['other']}))
    call prop_type_delete('other')
endfunction

function! Test_marks_and_folds() abort
    call Share(map(range(1, 40), '"line " . v:val'))
    setlocal foldmethod=manual
    20,25fold
    30mark a
    10mark b
    call s:edit([5, 0, 5, 0], "one\ntwo\n")
    call assert_equal('line 30', getline("'a"))
    call assert_equal('line 10', getline("'b"))
    call assert_equal([22, 27], [foldclosed(22), foldclosedend(22)])
    call s:edit([11, 2, 14, 1], '')
    call assert_equal('line 30', getline("'a"))
    call assert_equal([19, 24], [foldclosed(19), foldclosedend(19)])
endfunction

function! Test_the_change_list_is_the_users() abort
    call Share(map(range(1, 40), '"line " . v:val'))
    call cursor(10, 3)
    normal! x
    call s:edit([30, 0, 30, 0], 'x')
    call assert_equal(10, line("'."))
    call assert_equal(1, len(getchangelist()[0]))
endfunction

function! Test_properties_of_other_plugins_move_with_the_text() abort
    if has('nvim')
        return
    endif
    highlight CovimTest term=bold
    call prop_type_add('covim_test', {'highlight': 'CovimTest'})
    call Share(['one two three', 'four five six', 'seven'])
    call prop_add(1, 5, {'type': 'covim_test', 'length': 3, 'id': 1})
    call prop_add(2, 6, {'type': 'covim_test', 'length': 4, 'id': 2})
    call s:edit([1, 0, 1, 0], 'XX')
    call assert_equal(['two'], s:marked(1))
    call s:edit([1, 10, 1, 10], 'YY')
    call assert_equal(['two'], s:marked(1))
    call s:edit([1, 7, 1, 7], '-')
    call assert_equal(['t-wo'], s:marked(1))
    call s:edit([1, 4, 1, 4], "\n")
    call assert_equal([], s:marked(1))
    call assert_equal(['t-wo'], s:marked(2))
    call assert_equal(['five'], s:marked(3))
    call s:edit([2, 0, 3, 2], '')
    call assert_equal(['five'], s:marked(2))
    call s:edit([2, 1, 2, 7], '')
    call assert_equal([], s:marked(2))
    call prop_type_delete('covim_test')
endfunction

function! s:marked(lnum) abort
    return map(prop_list(a:lnum, {'types': ['covim_test']}),
                \ 'strpart(getline(a:lnum), v:val.col - 1, v:val.length)')
endfunction

" Where the others' cursors are drawn: [line, text under it, label].
function! s:pointers() abort
    let l:found = []
    if has('nvim')
        for l:m in luaeval('require("covim").pointers(0)')
            call add(l:found, l:m)
        endfor
        return l:found
    endif
    for l:lnum in range(1, line('$'))
        for l:p in prop_list(l:lnum)
            if l:p.type =~# '^covim_cursor'
                call add(l:found, [l:lnum, strpart(getline(l:lnum), l:p.col - 1, l:p.length)])
            endif
        endfor
    endfor
    return l:found
endfunction

function! s:presence(peers) abort
    let l:d = Doc()
    let l:list = []
    for [l:id, l:colour, l:range] in a:peers
        call add(l:list, {'peer': l:id, 'name': 'n' . l:id, 'colour': l:colour,
                    \ 'ranges': [l:range], 'mode': 'n'})
    endfor
    call covim#dispatch('presence', {'doc': l:d.doc, 'epoch': l:d.epoch,
                \ 'erev': l:d.erev, 'peers': l:list})
endfunction

function! Test_pointers_of_others() abort
    call Share(['one', 'twö', '日本', 'four'])
    call s:presence([[5, 1, [2, 2, 2, 2]], [6, 2, [3, 3, 3, 3]]])
    call assert_equal([[2, 'ö'], [3, '本']], s:pointers())
    " They move with the text, by the user's typing and by edits.
    call append(0, 'new')
    call covim#backend('flush', bufnr('%'))
    call assert_equal([[3, 'ö'], [4, '本']], s:pointers())
    call s:edit([3, 0, 3, 0], 'xx')
    call assert_equal([[3, 'ö'], [4, '本']], s:pointers())
    call s:edit([1, 0, 1, 0], "above\n")
    call assert_equal([[4, 'ö'], [5, '本']], s:pointers())
    call s:presence([[5, 1, [1, 0, 1, 0]], [6, 2, [5, 3, 5, 3]]])
    call assert_equal([[1, 'a'], [5, '本']], s:pointers())
    call s:presence([[6, 2, [5, 3, 5, 3]]])
    call assert_equal([[5, '本']], s:pointers())
    " Places that do not exist, and what is no place at all.
    call s:presence([[6, 2, [99, 3, 99, 99]], [7, 900, [1, 0, 1, 50]], [8, -4, [-1, -1, -1, -1]]])
    call covim#dispatch('presence', {'doc': Doc().doc, 'epoch': Doc().epoch, 'peers':
                \ [{}, 'x', {'ranges': [[1]]}, {'ranges': 'abcd'}, {'ranges': [['a', 0, 0, 0]]}]})
    call assert_equal([], s:pointers())
    call s:presence([[5, 1, [1, 0, 4, 1]]])
    call s:presence([])
    call assert_equal([], s:pointers())
    if !has('nvim')
        call assert_equal([], filter(prop_list(1, {'end_lnum': -1}), 'v:val.type =~# "^covim"'))
    endif
    call s:presence([[5, 1, [1, 0, 4, 1]]])
    CoVim leave
    call assert_equal([], s:pointers())
endfunction

function! Test_undo_is_separable() abort
    call Share(['one', 'two', 'three'])
    call feedkeys("ggxx", 'xt')
    call s:edit([3, 0, 3, 0], 'Z')
    call feedkeys("gg0ix\<Esc>", 'xt')
    call assert_equal(['xe', 'two', 'Zthree'], getline(1, '$'))
    undo
    call assert_equal(['e', 'two', 'Zthree'], getline(1, '$'))
    undo
    call assert_equal(['e', 'two', 'three'], getline(1, '$'))
    undo
    call assert_equal(['ne', 'two', 'three'], getline(1, '$'))
    call assert_equal(getline(1, '$'), Agent().lines)
endfunction

function! Test_a_buffer_that_is_not_shown() abort
    call Share(['one', 'two'])
    let l:buf = bufnr('%')
    call cursor(2, 2)
    enew
    call Remote([1, 0, 1, 0], "new\n", l:buf)
    call Remote([3, 3, 3, 3], " more", l:buf)
    call assert_equal(['new', 'one', 'two more'], getbufline(l:buf, 1, '$'))
    call assert_equal(['new', 'one', 'two more'], Agent(l:buf).truth)
    execute 'buffer' l:buf
    call setline(1, 'typed')
    call assert_equal(['typed', 'one', 'two more'], Agent().truth)
endfunction

function! Test_options_of_the_user_do_not_matter() abort
    call Share(['one', 'two'])
    set textwidth=5 autoindent virtualedit=all selection=exclusive
    setlocal nomodifiable
    call s:edit([1, 3, 1, 3], ' and a long line of text')
    call assert_equal('one and a long line of text', getline(1))
    call assert_equal(0, &modifiable)
    set textwidth& autoindent& virtualedit& selection& modifiable
endfunction

function! Test_the_cursor_is_sent() abort
    call Share(['one', 'two three'])
    call cursor(2, 5)
    doautocmd CursorMoved
    call WaitFor('string(Agent().cursor) =~# "[[]2, 4, 2, 4\\]"')
    enew
    call WaitFor('string(Agent(' . bufnr('#') . ').cursor) =~# "''ranges'': \\[\\]"')
endfunction

" Measured: 0.2 ms a change and 0.4 ms an edit; the bounds are for a machine
" that is busy with other things.
function! Test_a_key_and_an_edit_cost_little_in_a_long_text() abort
    call Share(map(range(10000), '"    line " . v:val . " of a long source"'))
    let l:start = reltime()
    for l:i in range(200)
        call setline(5000, getline(5000) . 'x')
        call covim#doc#flush(bufnr('%'))
    endfor
    call assert_true(reltimefloat(reltime(l:start)) < 200 * 0.005)
    call Agent()
    let l:applied = covim#doc#stats().applied
    let l:d = Doc()
    let l:start = reltime()
    for l:i in range(200)
        call covim#dispatch('edit', {'doc': l:d.doc, 'epoch': l:d.epoch,
                    \ 'erev': l:d.erev, 'range': [100, 1, 100, 1], 'text': 'y'})
    endfor
    call assert_true(reltimefloat(reltime(l:start)) < 200 * 0.01)
    call assert_equal(200, covim#doc#stats().applied - l:applied)
    " The agent knows nothing of these: do not tell it about them.
    let [l:d.rev, l:d.acked] = [0, 0]
endfunction

call RunTests()

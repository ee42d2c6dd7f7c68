" covim#apply: puts text of others into a buffer, and leaves cursors, marks and
" the user's undo where they belong.

" Where the byte `col` of line `lnum` is after an edit {l1, c1, l2, c2, el,
" ec}: its range, and where the inserted text ends.  What was deleted moves
" to its start; a place where text was inserted stays when `stay`, else it
" moves with the character that follows.  With `to` it is known where the
" lines of the range are afterwards, of which the first is 0.
function! covim#apply#shift(lnum, col, edit, stay) abort
    let l:e = a:edit
    if a:lnum < l:e.l1 || a:lnum == l:e.l1 && (a:col < l:e.c1
                \ || a:col == l:e.c1 && a:stay)
        return [a:lnum, a:col]
    endif
    if a:lnum > l:e.l2
        return [a:lnum + l:e.el - l:e.l2, a:col]
    endif
    if a:lnum == l:e.l2 && a:col >= l:e.c2
        return [l:e.el, a:col - l:e.c2 + l:e.ec]
    endif
    if has_key(l:e, 'to')
        return l:e.to(a:lnum - l:e.l1, a:col, a:stay)
    endif
    return [l:e.l1, l:e.c1]
endfunction

" Applies the replacement of a range of bytes; `joined`: it is many changes, and
" most of its text was there before.  Returns 0 when it does not fit.
function! covim#apply#edit(d, range, text, joined) abort
    let l:d = a:d
    if type(a:range) != type([]) || len(a:range) != 4
                \ || type(a:text) != type('')
                \ || len(filter(copy(a:range), 'type(v:val) == type(0)')) != 4
        return 0
    endif
    let [l:l1, l:c1, l:l2, l:c2] = a:range
    if l:l1 < 1 || l:l2 < l:l1 || l:l2 > l:d.n || l:c1 < 0 || l:c2 < 0
                \ || l:l1 == l:l2 && l:c2 < l:c1
        return 0
    endif
    let l:old = getbufline(l:d.buf, l:l1, l:l2)
    if l:c1 > len(l:old[0]) || l:c2 > len(l:old[-1])
        return 0
    endif
    let l:new = split(a:text, "\n", 1)
    if empty(l:new)
        let l:new = ['']
    endif
    let l:edit = {'l1': l:l1, 'c1': l:c1, 'l2': l:l2, 'c2': l:c2,
                \ 'el': l:l1 + len(l:new) - 1,
                \ 'ec': len(l:new[-1]) + (len(l:new) == 1 ? l:c1 : 0)}
    let l:edit.parts = copy(l:new)
    call covim#doc#note_edit(l:d, l:old, l:edit)
    let l:new[0] = strpart(l:old[0], 0, l:c1) . l:new[0]
    let l:new[-1] .= strpart(l:old[-1], l:c2)
    if a:joined
        return s:replace_joined(l:d, l:l1, l:old, l:new)
    endif
    return s:replace(l:d, l:l1, l:old, l:new, l:edit)
endfunction

" Makes the buffer hold `new`, touching only the lines that differ.
function! covim#apply#lines(d, new) abort
    let l:d = a:d
    call covim#backend('flush', l:d.buf)
    let l:old = getbufline(l:d.buf, 1, '$')
    let l:d.n = len(l:old)
    call s:replace_joined(l:d, 1, l:old, a:new)
endfunction

" Lines from `first` on, now `old`, become `new`, and cursors stay in theirs.
function! s:replace_joined(d, first, old, new) abort
    let [l:skip, l:same] = s:common(a:old, a:new)
    let l:old = s:middle(a:old, l:skip, l:same)
    let l:new = s:middle(a:new, l:skip, l:same)
    let l:first = a:first + l:skip
    let l:edit = {'l1': l:first, 'c1': 0, 'l2': l:first + len(l:old), 'c2': 0,
                \ 'el': l:first + len(l:new), 'ec': 0}
    if !empty(l:old) && !empty(l:new)
        let l:edit.to = {i, col, stay ->
                    \ s:moved(l:first, l:old, l:new, i, col, stay)}
    endif
    return s:replace(a:d, l:first, l:old, l:new, l:edit)
endfunction

" Where byte `col` of line `i` of `old` is, in `new`, which begins at `first`.
function! s:moved(first, old, new, i, col, stay) abort
    let l:k = len(a:old) == len(a:new) ? a:i : s:place(a:old, a:new, a:i)
    let [l:was, l:is] = [a:old[a:i], a:new[l:k]]
    let [l:head, l:tail] = s:common(l:was, l:is)
    let l:behind = len(l:was) - a:col
    return [a:first + l:k, a:col < l:head || a:col == l:head && a:stay ? a:col
                \ : l:behind <= l:tail ? len(l:is) - l:behind
                \ : max([l:head, min([a:col, len(l:is) - l:tail])])]
endfunction

" How far to look for a line that is there only once.
let s:near = 20

" The index in `new` of line `i` of `old`: that of the line if it is in each only
" once, else beside the nearest one that is (as patience diff does); where that
" is another line, `i` has gone, and what follows it is there.
function! s:place(old, new, i) abort
    for l:way in range(s:near + 1)
        for l:k in l:way == 0 ? [a:i] : [a:i - l:way, a:i + l:way]
            if l:k >= 0 && l:k < len(a:old) && count(a:old, a:old[l:k]) == 1
                        \ && count(a:new, a:old[l:k]) == 1
                return s:beside(a:old, a:new, a:i, l:k,
                            \ index(a:new, a:old[l:k]))
            endif
        endfor
    endfor
    return min([a:i, len(a:new) - 1])
endfunction

" Line `i`, when line `k` is at `at`: as far from there as lines are the same.
function! s:beside(old, new, i, k, at) abort
    let [l:k, l:at] = [a:k, a:at]
    while l:k < a:i && get(a:new, l:at + 1, 0) is# a:old[l:k + 1]
        let [l:k, l:at] = [l:k + 1, l:at + 1]
    endwhile
    while l:k > a:i && l:at > 0 && a:new[l:at - 1] ==# a:old[l:k - 1]
        let [l:k, l:at] = [l:k - 1, l:at - 1]
    endwhile
    return l:k < a:i ? min([l:at + 1, len(a:new) - 1]) : l:at
endfunction

" How many lines, or bytes of two strings, the two begin, and end, with in
" common.  (A negative index of a string is none.)
function! s:common(old, new) abort
    let [l:old_end, l:new_end] = [len(a:old) - 1, len(a:new) - 1]
    let l:most = min([l:old_end, l:new_end]) + 1
    let l:skip = 0
    while l:skip < l:most && a:old[l:skip] ==# a:new[l:skip]
        let l:skip += 1
    endwhile
    let l:same = 0
    while l:same < l:most - l:skip
                \ && a:old[l:old_end - l:same] ==# a:new[l:new_end - l:same]
        let l:same += 1
    endwhile
    return [l:skip, l:same]
endfunction

" The list without its first `skip` and its last `drop` items.
function! s:middle(list, skip, drop) abort
    let l:end = len(a:list) - a:drop - 1
    return l:end < a:skip ? [] : a:list[a:skip : l:end]
endfunction

" Lines from `first` on, now `old`, become `new`.  Only those that differ are
" touched, so that marks, folds and properties of the others stay.  Returns
" whether it could be done.
function! s:replace(d, first, old, new, edit) abort
    let l:d = a:d
    let l:buf = l:d.buf
    let l:first = a:first
    let l:old = a:old
    let l:new = a:new
    let [l:skip, l:same] = s:common(l:old, l:new)
    if l:skip + l:same > 0
        let l:first += l:skip
        let l:old = s:middle(l:old, l:skip, l:same)
        let l:new = s:middle(l:new, l:skip, l:same)
    endif
    if empty(l:old) && empty(l:new)
        return 1
    endif
    let l:done = 0
    let l:views = s:save_views(l:buf, a:edit)
    let l:d.applying = 1
    let l:here = l:buf == bufnr('%')
    let l:locked = !getbufvar(l:buf, '&modifiable')
    if l:locked
        call setbufvar(l:buf, '&modifiable', 1)
    endif
    try
        " Setting 'undolevels' ends the undo block of the user, and ours.
        if l:here
            noautocmd let &l:undolevels = &l:undolevels
        endif
        noautocmd let l:done = covim#backend('replace', l:buf, l:first,
                    \ l:first + len(l:old) - 1, l:new, a:edit)
        if l:here
            noautocmd let &l:undolevels = &l:undolevels
            call s:go_on_inserting()
        endif
        call covim#backend('flush', l:buf)
    finally
        if l:locked
            call setbufvar(l:buf, '&modifiable', 0)
        endif
        let l:d.applying = 0
        let l:d.n = l:done ? l:d.n + len(l:new) - len(l:old)
                    \ : covim#text#line_count(l:buf)
        let l:d.tail = l:d.n
        let l:d.changed = reltime()
        let l:d.verified = 0
    endtry
    if len(l:new) != len(l:old)
        call covim#backend('lines_moved', l:buf, l:first + len(l:old),
                    \ len(l:new) - len(l:old))
    endif
    call s:restore_views(l:views)
    call covim#follow#settled(l:buf)
    return l:done
endfunction

let s:split = 0

" In insert mode the text is saved for undo once, at the start: what is typed
" after another change to the buffer, lines above all, would not be undone.
" CTRL-G u makes the editor save again.
function! s:go_on_inserting() abort
    if mode() =~# '^[iR]' && !s:split
        let s:split = 1
        call feedkeys("\<C-g>u", 'ni')
        call timer_start(0, function('s:on_split'))
    endif
endfunction

function! s:on_split(timer) abort
    let s:split = 0
endfunction

" Views.  {{{1

" Vim moves cursors by lines at best, and those of other windows twice: where
" each belongs is computed here.
function! s:save_views(buf, edit) abort
    let l:views = []
    let l:current = win_getid()
    for l:win in win_findbuf(a:buf)
        if l:win == l:current
            let l:view = winsaveview()
            let l:mode = mode()
            let l:view.insert = l:mode =~# '^[iR]'
        else
            call win_execute(l:win, 'let s:view = winsaveview()')
            let l:view = s:view
            let l:view.insert = 0
            let l:mode = 'n'
        endif
        " In insert mode, and at the end of a line, there is no character
        " under the cursor: text that comes in there goes behind it.
        let l:stay = l:view.insert || l:view.col
                    \ >= len(get(getbufline(a:buf, l:view.lnum), 0, ''))
        let [l:lnum, l:col] = covim#apply#shift(l:view.lnum, l:view.col,
                    \ a:edit, l:stay)
        let l:view.lnum = l:lnum
        if l:view.curswant != 2147483647 && l:col != l:view.col
            let l:view.curswant += l:col - l:view.col
        endif
        let l:view.col = l:col
        if l:view.topline > 1
            let l:view.topline = covim#apply#shift(l:view.topline, 0,
                        \ a:edit, 0)[0]
        endif
        let l:view.win = l:win
        if l:win == l:current && l:mode =~# "^[vV\<C-v>]"
            let [l:lnum, l:col] = getpos('v')[1:2]
            let l:view.anchor = covim#apply#shift(l:lnum, l:col - 1, a:edit, 0)
            " Out of the way while lines come and go.
            call s:move_anchor([1, 0])
        endif
        call add(l:views, l:view)
    endfor
    return l:views
endfunction

function! s:move_anchor(pos) abort
    noautocmd normal! o
    call cursor(a:pos[0], a:pos[1] + 1)
    noautocmd normal! o
endfunction

function! s:restore_views(views) abort
    let l:current = win_getid()
    for l:view in a:views
        if l:view.win == l:current
            if has_key(l:view, 'anchor')
                call s:move_anchor(l:view.anchor)
            endif
            call s:restore_view(l:view)
        else
            let s:view = l:view
            call win_execute(l:view.win, 'call s:restore_view(s:view)')
        endif
    endfor
endfunction

" Redraws nothing when the window shows what it should already.
function! s:restore_view(view) abort
    let l:is = winsaveview()
    if l:is.topline != a:view.topline
        call winrestview({'topline': a:view.topline, 'lnum': a:view.lnum,
                    \ 'col': a:view.col, 'coladd': a:view.coladd,
                    \ 'curswant': a:view.curswant})
    elseif l:is.lnum != a:view.lnum || l:is.col != a:view.col
        call cursor([a:view.lnum, a:view.col + 1, a:view.coladd,
                    \ a:view.curswant == 2147483647 ? a:view.curswant
                    \ : a:view.curswant + 1])
    endif
endfunction

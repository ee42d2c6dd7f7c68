" covim#undo: takes back changes of the user, and of nobody else.  The agent
" remembers them; here are the keys, and what is one step.

" Counts the insertions; each is one step, whatever others do meanwhile.
let s:insertion = 0
let s:inserting = 0

" Steps.  {{{1

function! covim#undo#mode_changed(old, new) abort
    let l:was = a:old =~# '^[iR]'
    if l:was != (a:new =~# '^[iR]')
        " What was typed goes with the step that it belongs to.
        call covim#doc#flush(bufnr('%'))
        let s:inserting = !l:was
        let s:insertion += s:inserting
    endif
endfunction

" The number of the step that a change of the current buffer is part of: as
" Vim counts them, but edits of others do not cut an insertion in two.
function! covim#undo#group(d) abort
    let l:step = get(a:d, 'step', {'group': 0, 'nr': -1, 'insertion': 0})
    let l:nr = changenr()
    let l:insertion = s:inserting ? s:insertion : 0
    if l:nr != l:step.nr && !(l:insertion && l:insertion == l:step.insertion)
        let l:step.group += 1
    endif
    let [l:step.nr, l:step.insertion] = [l:nr, l:insertion]
    let a:d.step = l:step
    if !has_key(a:d.befores, l:step.group)
        let a:d.befores[l:step.group] = a:d.before
        silent! unlet a:d.befores[l:step.group - s:befores_max]
    endif
    return l:step.group
endfunction

" Where the cursor was before each of the last steps: there it goes back to, if
" that is where the step began.
let s:befores_max = 10000

" Nothing of the current buffer waits to be sent.
function! covim#undo#note(d) abort
    if b:changedtick != get(a:d, 'tick', -1)
        let a:d.tick = b:changedtick
        let a:d.before = [line('.'), col('.') - 1]
    endif
endfunction

function! covim#undo#moved(buf) abort
    let l:d = covim#doc#get(a:buf)
    if empty(l:d) || b:changedtick != get(l:d, 'tick', -1)
        return
    endif
    let l:d.before = [line('.'), col('.') - 1]
    if mode() =~# "^[vV\<C-v>]"
        " A command will begin where the selection does.
        let l:from = [line('v'), col('v') - 1]
        let [l:a, l:b] = [l:d.before, l:from]
        let l:d.before = l:a[0] < l:b[0] || l:a[0] == l:b[0] && l:a[1] < l:b[1]
                    \ ? l:a : l:b
        if mode() ==# 'V'
            let l:d.before[1] = 0
        elseif mode() ==# "\<C-v>"
            let l:d.before[1] = min([l:a[1], l:b[1]])
        endif
    endif
endfunction

" Keys.  {{{1

let s:keys = {'undo': 'u', 'redo': '<C-r>'}

" In the current buffer; what the user has mapped there stays.
function! covim#undo#map() abort
    if get(g:, 'covim_no_maps', 0) || empty(covim#doc#get(bufnr('%')))
        return
    endif
    for [l:what, l:key] in items(s:keys)
        if !get(maparg(l:key, 'n', 0, 1), 'buffer', 0)
            execute 'nnoremap <buffer> <silent>' l:key
                        \ '<Cmd>call covim#undo#key("' . l:what . '")<CR>'
        endif
    endfor
endfunction

function! covim#undo#unmap() abort
    for [l:what, l:key] in items(s:keys)
        if maparg(l:key, 'n') =~# 'covim#undo#key'
            execute 'silent! nunmap <buffer>' l:key
        endif
    endfor
endfunction

" `u` and CTRL-R, with a count.
function! covim#undo#key(what) abort
    let l:d = covim#doc#get(bufnr('%'))
    if empty(l:d) || get(g:, 'covim_undo', 'own') ==# 'native'
        execute 'normal!' v:count1 . (a:what ==# 'undo' ? 'u' : "\<C-r>")
        return
    endif
    try
        call covim#undo#run(a:what, v:count1)
    catch /^covim:/
        call covim#ui#fail(v:exception)
    endtry
endfunction

" Waits for the agent, a few milliseconds, so that the next key finds the text
" as it is afterwards.
function! covim#undo#run(what, count) abort
    let l:d = covim#doc#get(bufnr('%'))
    if empty(l:d)
        throw 'covim: this buffer is not shared'
    elseif l:d.state !=# 'live'
        throw 'covim: nothing can be undone until the agent is back'
                    \ . ' (:help covim-undo)'
    endif
    let l:result = covim#doc#ask(l:d, a:what, {'count': a:count}, 1)
    if !covim#bool(l:result, 'done', 0)
        throw a:what ==# 'undo' ? 'covim: you have nothing more to undo here'
                    \ : 'covim: you have nothing more to redo here'
    endif
    call s:place(a:what, get(l:result, 'cursor', []),
                \ get(l:d.befores, covim#num(l:result, 'group', -1),
                \ [0, 0]))
endfunction

" To the topmost change, as Vim does: to where the cursor was before the step
" if that was there, or in the line above, else to the first word of the line;
" there too for one line that came back.  A change within a line is gone to
" itself.
function! s:place(what, cursor, before) abort
    if type(a:cursor) != type([]) || len(a:cursor) != 2
                \ || type(a:cursor[0]) != type(0)
                \ || type(a:cursor[1]) != type(0)
        return
    endif
    let l:edit = covim#doc#last_edit()
    if empty(l:edit)
        call cursor(a:cursor[0], a:cursor[1] + 1)
        return
    endif
    let [l:lnum, l:col] = [l:edit.l1, l:edit.c1]
    let l:below = l:edit.ends == [1, 1]
                \ && (l:edit.l1 != l:edit.l2 || l:edit.el != l:edit.l1)
    let l:one = l:edit.el == l:edit.l2 + 1 && (l:below
                \ || l:edit.c1 == 0 && l:edit.c2 == 0 && l:edit.ec == 0)
    " Lines below another one begin with its line end.
    let l:lnum += l:below
    if a:before[0] + 1 == l:lnum && l:lnum > 1
        let l:lnum -= 1
    endif
    let l:lnum = min([l:lnum, line('$')])
    if a:before[0] != l:lnum || a:what ==# 'undo' && l:one
        call cursor(l:lnum, &startofline ? 1 : a:before[1] + 1)
        if &startofline
            normal! ^
        endif
    else
        call cursor(l:lnum, (l:edit.inside ? l:col : a:before[1]) + 1)
    endif
    normal! zv
endfunction

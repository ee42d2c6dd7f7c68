" covim#undo: takes back changes of the user, and of nobody else.  The agent
" remembers them; here are the keys, and what is one step.

" Counts the insertions; each is one step, whatever others do meanwhile.
let s:insertion = 0
let s:inserting = 0
let s:answer_s = 2.0

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
    return l:step.group
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
    call covim#doc#flush(l:d.buf)
    let l:answer = {}
    let l:start = reltime()
    call covim#doc#force(l:d.buf)
    try
        call covim#rpc#request(a:what, {'doc': l:d.doc, 'epoch': l:d.epoch,
                    \ 'count': a:count}, function('s:on_answer', [l:answer]))
        while empty(l:answer) && reltimefloat(reltime(l:start)) < s:answer_s
            sleep 1m
        endwhile
    finally
        call covim#doc#force(-1)
    endtry
    if empty(l:answer)
        throw 'covim: the agent does not answer'
    elseif !empty(l:answer.error)
        throw 'covim: ' . covim#clean(get(l:answer.error, 'message', ''), 200)
    elseif !covim#bool(l:answer.result, 'done', 0)
        throw a:what ==# 'undo' ? 'covim: you have nothing more to undo here'
                    \ : 'covim: you have nothing more to redo here'
    endif
    call s:place(get(l:answer.result, 'cursor', []))
endfunction

function! s:on_answer(answer, error, result) abort
    call extend(a:answer, {'error': a:error, 'result': a:result})
endfunction

" To the topmost change.  Where whole lines came or went, to the first of
" them, as Vim does.
function! s:place(cursor) abort
    if type(a:cursor) != type([]) || len(a:cursor) != 2
                \ || type(a:cursor[0]) != type(0)
                \ || type(a:cursor[1]) != type(0)
        return
    endif
    let [l:lnum, l:col] = a:cursor
    let l:edit = covim#doc#last_edit()
    if get(l:edit, 'l1', 0) == l:lnum && l:edit.c1 == l:col
        let l:lines = l:edit.el != l:edit.l2
        if l:col == 0 && l:lines && l:edit.ec == 0 && l:edit.c2 == 0
            let l:col = -1
        elseif l:col > 0 && l:edit.el > l:edit.l1 && l:edit.parts[0] ==# ''
                    \ && l:col == len(getline(l:lnum))
            " A line behind the last one begins with its line end.
            let [l:lnum, l:col] = [l:lnum + 1, -1]
        endif
    endif
    call cursor(l:lnum, l:col + 1)
    if l:col < 0
        normal! ^
    endif
    normal! zv
endfunction

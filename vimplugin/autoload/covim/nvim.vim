" covim#nvim: what only Neovim can do.  The twin of covim#vim; what is shorter
" in Lua is in lua/covim/init.lua.

let s:job = 0
let s:generation = 0
let s:rest = ''

function! covim#nvim#version() abort
    return matchstr(tolower(split(execute('version'), "\n")[0]),
                \ 'nvim v\=\zs[0-9.]*')->printf('nvim %s')
endfunction

" The job.  {{{1

function! covim#nvim#start(cmd, generation) abort
    let s:rest = ''
    let s:generation = a:generation
    " detach: the agent sees its stdin close, and leaves in good order.
    let l:options = {'on_stdout': function('s:on_out', [a:generation]),
                \ 'on_stderr': function('s:on_err', [a:generation]),
                \ 'on_exit': function('s:on_exit', [a:generation]),
                \ 'detach': v:true}
    try
        let s:job = jobstart(a:cmd, l:options)
    catch
        let s:job = 0
    endtry
    return s:job > 0
endfunction

function! s:on_out(generation, job, data, event) abort
    if a:generation != s:generation
        return
    endif
    " The first item goes on with the last of the call before.
    let l:lines = copy(a:data)
    let l:lines[0] = s:rest . l:lines[0]
    let s:rest = remove(l:lines, -1)
    for l:line in l:lines
        if !empty(l:line)
            call covim#rpc#on_line(a:generation, l:line)
        endif
    endfor
endfunction

function! s:on_err(generation, job, data, event) abort
    for l:line in a:data
        call covim#rpc#on_stderr(a:generation, l:line)
    endfor
endfunction

function! s:on_exit(generation, job, code, event) abort
    call covim#rpc#on_exit(a:generation)
endfunction

function! covim#nvim#send(line) abort
    try
        call chansend(s:job, a:line)
    catch /^Vim\%((\a\+)\)\=:E\%(900\|475\|906\)/
        " The agent has just died; its exit callback follows.
    endtry
endfunction

function! covim#nvim#stop() abort
    if s:job > 0
        call covim#nvim#close()
        silent! call jobstop(s:job)
    endif
endfunction

" Waits until Expr() is true.
function! covim#nvim#wait(timeout, Expr) abort
    call wait(a:timeout, a:Expr, 5)
endfunction

function! covim#nvim#close() abort
    silent! call chanclose(s:job, 'stdin')
endfunction

function! covim#nvim#pid() abort
    try
        return jobpid(s:job)
    catch
        return 0
    endtry
endfunction

" Changes.  {{{1

function! covim#nvim#attach(buf) abort
    call luaeval('require("covim").attach(_A)', a:buf)
endfunction

function! covim#nvim#detach(buf) abort
    call luaeval('require("covim").detach(_A)', a:buf)
endfunction

" Neovim reports each change at once.
function! covim#nvim#flush(buf) abort
endfunction

" Safe moments.  {{{1

function! covim#nvim#mode_changed() abort
    " Nothing tells Neovim's plugins that it waits again.
    call timer_start(0, function('s:on_mode'))
endfunction

function! s:on_mode(timer) abort
    call covim#doc#drain()
endfunction

" Whether some other script is in the middle of its work, in getchar() or
" :sleep: then the call stack does not begin with a callback of ours.
function! s:in_script() abort
    return expand('<sfile>') !~# '^function <SNR>\d\+_on_\%(out\|mode\|wait\)\>'
endfunction

function! covim#nvim#safe(buf) abort
    if a:buf != bufnr('%') || get(g:, 'covim_apply_always', 0)
        return 1
    endif
    let l:mode = nvim_get_mode()
    return !l:mode.blocking && !covim#in_block_insert() && !s:in_script()
                \ && l:mode.mode !~# "^\\%(no\\|[crsSt!\<C-s>]\\|i[cx]\\|R[cx]\\)"
endfunction

" Neovim does not ask: nothing here makes it forget.
function! covim#nvim#waits() abort
    return 1
endfunction

function! covim#nvim#idle() abort
    let l:mode = nvim_get_mode()
    return get(g:, 'covim_apply_always', 0) || !l:mode.blocking
                \ && l:mode.mode ==# 'n' && win_gettype() ==# ''
endfunction

" Edits.  {{{1

" Whole lines come and go with the marks of the others; inside of lines only
" nvim_buf_set_text() keeps extmarks.
function! covim#nvim#replace(buf, first, last, lines, edit) abort
    try
        if a:last < a:first || empty(a:lines) || !has_key(a:edit, 'parts')
            keepjumps call nvim_buf_set_lines(a:buf, a:first - 1, a:last,
                        \ v:true, a:lines)
        else
            keepjumps call nvim_buf_set_text(a:buf, a:edit.l1 - 1, a:edit.c1,
                        \ a:edit.l2 - 1, a:edit.c2, a:edit.parts)
        endif
    catch
        return 0
    endtry
    return 1
endfunction

" Pointers of the others.  {{{1

function! covim#nvim#draw(buf, list) abort
    call luaeval('require("covim").draw(_A[1], _A[2])', [a:buf, a:list])
endfunction

" Extmarks move by themselves.
function! covim#nvim#lines_moved(buf, lnum, added) abort
endfunction

" Who wrote the lines.  {{{1

function! covim#nvim#can_blame() abort
    return 1
endfunction

function! covim#nvim#blame(buf, items) abort
    call luaeval('require("covim").blame(_A[1], _A[2])', [a:buf, a:items])
endfunction

" Messages.  {{{1

function! covim#nvim#popup(text, group, ms) abort
    call luaeval('require("covim").popup(_A[1], _A[2], _A[3])',
                \ [a:text, a:group, a:ms])
endfunction

function! covim#nvim#terminal(bytes) abort
    call chansend(v:stderr, a:bytes)
endfunction

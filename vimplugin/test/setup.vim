" What the tests share.  Each is a plain script:
"   vim --clean -N -es -S test/NAME.vim       (or nvim --clean --headless)
" with COVIM_FAKE, the made-up agent, in the environment.
set encoding=utf-8 nocompatible hidden viminfo= noswapfile
execute 'set runtimepath^=' . fnameescape(expand('<sfile>:p:h:h'))
let g:covim_command = [$COVIM_FAKE]
let g:covim_name = 'tester'
let g:covim_osc52 = 0
" Nobody types here; without a user Vim never says that it waits for one.
let g:covim_apply_always = 1
" The made-up agent undoes nothing.
let g:covim_undo = 'native'
filetype plugin on
runtime plugin/covim.vim

" Waits until the expression is true; fails after three seconds.
function! WaitFor(expr, ...) abort
    let l:start = reltime()
    while reltimefloat(reltime(l:start)) < (a:0 ? a:1 : 3.0)
        if eval(a:expr)
            return 1
        endif
        sleep 1m
    endwhile
    call add(v:errors, expand('<stack>') . ': never came: ' . a:expr)
    return 0
endfunction

" A request to the agent, and its result.
function! Ask(method, params) abort
    let g:answer = {}
    call covim#rpc#request(a:method, a:params, function('s:answered'))
    call WaitFor('!empty(g:answer)')
    return get(g:answer, 'result', {})
endfunction

function! s:answered(error, result) abort
    let g:answer = {'error': a:error, 'result': a:result}
endfunction

function! Doc(...) abort
    return covim#doc#get(a:0 ? a:1 : bufnr('%'))
endfunction

" What the agent holds for the current buffer, once all has been said.
function! Agent(...) abort
    let l:buf = a:0 ? a:1 : bufnr('%')
    call covim#doc#flush(l:buf)
    return Ask('test/text', {'doc': Doc(l:buf).doc})
endfunction

function! Share(lines) abort
    call setline(1, a:lines)
    CoVim share --open
    call WaitFor('get(Doc(), "state", "") ==# "live"')
endfunction

" An edit of somebody else, applied.
function! Remote(range, text, ...) abort
    let l:d = Doc(a:0 ? a:1 : bufnr('%'))
    call covim#doc#flush(l:d.buf)
    let l:rev = l:d.rev
    call Ask('test/edit', {'doc': l:d.doc, 'range': a:range, 'text': a:text})
    let g:wait_doc = l:d
    let g:wait_rev = l:rev + (a:range[0:1] != a:range[2:3])
                \ + !empty(a:text)
    call WaitFor('g:wait_doc.rev >= g:wait_rev')
endfunction

" Nothing of the test before: an agent of its own, one empty buffer.
function! s:fresh() abort
    for l:d in covim#doc#all()
        call covim#doc#remove(l:d)
    endfor
    call covim#rpc#shutdown()
    call WaitFor('covim#rpc#state() ==# ""')
    if has('nvim')
        lua require('covim').close_popups()
    else
        call popup_clear()
    endif
    silent tabonly!
    silent only!
    enew!
    for l:info in getbufinfo()
        if l:info.bufnr != bufnr('%')
            execute 'bwipeout!' l:info.bufnr
        endif
    endfor
endfunction

" The echoed lines of a command.
function! Say(command) abort
    return split(execute(a:command), "\n")
endfunction

" All that was said, in popups and messages.
function! Log() abort
    return join(covim#ui#lines(), "\n")
endfunction

" The messages of one kind that the agent got since it was last asked.
function! Logged(method) abort
    return filter(Ask('test/log', {}).log, 'v:val[0] ==# a:method')
endfunction

" The popups that are shown now, as lines.
function! Popups() abort
    if has('nvim')
        return map(filter(nvim_list_wins(),
                    \ 'nvim_win_get_config(v:val).relative !=# ""'),
                    \ 'join(getbufline(winbufnr(v:val), 1, "$"))')
    endif
    return map(popup_list(), 'join(getbufline(winbufnr(v:val), 1, "$"))')
endfunction

" Runs every function Test_…() of the script and ends the editor.
function! RunTests() abort
    let l:names = map(split(execute('function /^Test_'), "\n"),
                \ 'matchstr(v:val, ''function \zs\w*'')')
    let l:report = []
    for l:name in filter(l:names, 'empty($COVIM_ONLY) || v:val =~# $COVIM_ONLY')
        let l:before = len(v:errors)
        call s:fresh()
        try
            execute 'call' l:name . '()'
        catch
            call add(v:errors, v:throwpoint . ': ' . v:exception)
        endtry
        call add(l:report, (len(v:errors) == l:before ? 'ok   ' : 'FAIL ')
                    \ . l:name)
    endfor
    if !empty($COVIM_REPORT)
        call writefile(l:report + v:errors, $COVIM_REPORT)
    endif
    if !empty(v:errors)
        call writefile(l:report + v:errors, '/dev/stderr')
        cquit!
    endif
    qall!
endfunction

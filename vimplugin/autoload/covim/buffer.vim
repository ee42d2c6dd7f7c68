" covim#buffer: the buffers of joined documents, which have no file; and what
" becomes of a document when its buffer goes.

" A buffer of ours is being loaded.
let s:filling = 0

" A joined document: a buffer of its own, that touches no other and no file.
" `s` is its session.
function! covim#buffer#open(msg, s) abort
    let l:lines = covim#lines(a:msg)
    let l:fields = {'doc': covim#num(a:msg, 'doc', -1),
                \ 'epoch': covim#num(a:msg, 'epoch', -1),
                \ 'session': a:s.session,
                \ 'key': a:s.key, 'role': covim#str(a:msg, 'role', 'editor'),
                \ 'eol': covim#bool(a:msg, 'eol', 1)}
    let l:d = covim#doc#get(a:s.buf)
    if !empty(l:d)
        call s:take_over(l:d, l:lines, l:fields)
        return
    endif
    let l:path = covim#safe_path(covim#str(a:msg, 'path', ''))
    let l:buf = s:new_buffer(a:s.key, l:path)
    call setbufvar(l:buf, '&undolevels', -1)
    call setbufline(l:buf, 1, l:lines)
    call setbufvar(l:buf, '&undolevels', -123456)
    call setbufvar(l:buf, '&eol', l:fields.eol)
    call setbufvar(l:buf, '&fixeol', l:fields.eol)
    if index(['unix', 'dos', 'mac'], covim#str(a:msg, 'ff', '')) >= 0
        call setbufvar(l:buf, '&fileformat', a:msg.ff)
    endif
    call setbufvar(l:buf, '&modified', 0)
    let a:s.buf = l:buf
    let l:d = covim#doc#add(l:buf, extend({'joined': 1, 'path': l:path},
                \ l:fields))
    call covim#doc#live(l:d, {})
    call covim#ui#refresh()
    let l:ft = covim#str(a:msg, 'ft', '')
    if len(l:ft) > 40
                \ || l:ft !~# '^\w\+\%([.-]\w\+\)*$'
        let l:ft = ''
    endif
    call s:show(l:buf, a:s.win, l:ft, 0)
endfunction

" The buffer was there before: it takes the text of the others.
function! s:take_over(d, lines, fields) abort
    let l:old = getbufline(a:d.buf, 1, '$')
    if l:old !=# a:lines && l:old !=# ['']
        call covim#ui#say('warn', 'covim: ' . a:d.show . ' has the text of'
                    \ . ' the others now; yours is in buffer '
                    \ . covim#ui#keep(a:d.path, l:old))
    endif
    call covim#apply#lines(a:d, a:lines)
    call covim#doc#restart(a:d)
    call covim#doc#live(a:d, a:fields)
    call covim#ui#refresh()
endfunction

" What tells the buffers of one session from those of others: the beginning of
" its key.
function! covim#buffer#tag(key) abort
    return matchstr(substitute(a:key, '^covim1', '', ''), '^\w\{1,8}')
endfunction

function! s:new_buffer(key, path) abort
    let l:base = 'covim://' . covim#buffer#tag(a:key) . '/'
    let l:name = l:base . a:path
    let l:count = 1
    while bufexists(l:name)
        let l:count += 1
        let l:name = l:base . l:count . '/' . a:path
    endwhile
    let l:buf = bufadd(l:name)
    call setbufvar(l:buf, '&swapfile', 0)
    let s:filling = 1
    try
        call bufload(l:buf)
    finally
        let s:filling = 0
    endtry
    for [l:option, l:value] in [['buftype', 'acwrite'], ['swapfile', 0],
                \ ['undofile', 0], ['modeline', 0], ['bufhidden', 'hide'],
                \ ['buflisted', 1], ['readonly', 0]]
        call setbufvar(l:buf, '&' . l:option, l:value)
    endfor
    return l:buf
endfunction

" Opens a window on the buffer once the user is not in the middle of a
" command; takes over the window of :CoVim join if that is empty.
function! s:show(buf, win, ft, timer) abort
    if !bufexists(a:buf)
        return
    endif
    if !covim#backend('idle')
        if type(a:timer) == type(0) && a:timer == 0
            call covim#ui#say('info', 'covim: the text is in buffer ' . a:buf)
        endif
        call timer_start(100, function('s:show', [a:buf, a:win, a:ft]))
        return
    endif
    if win_id2win(a:win) != 0
        call win_gotoid(a:win)
    endif
    let l:empty = bufname('%') ==# '' && !&modified && &buftype ==# ''
                \ && line('$') == 1 && getline(1) ==# ''
    execute 'silent' (l:empty ? 'keepalt buffer' : 'sbuffer') a:buf
    if empty(a:ft)
        " The group is not there under `:filetype off`.
        if exists('#filetypedetect#BufRead')
            doautocmd <nomodeline> filetypedetect BufRead
        endif
    else
        let &l:filetype = a:ft
    endif
    setlocal nomodeline noswapfile noundofile
    call covim#event('CoVimOpened', {'buf': a:buf})
    call covim#view#send_soon(a:buf)
endfunction

" `:e` on a joined buffer: the text that it had, for there is no file.
function! covim#buffer#read(buf) abort
    let l:d = covim#doc#get(a:buf)
    if s:filling || empty(l:d) || !has_key(l:d, 'unloaded')
        return
    endif
    let l:lines = remove(l:d, 'unloaded')
    noautocmd call setbufline(a:buf, 1, l:lines)
    call setbufvar(a:buf, '&buftype', 'acwrite')
    call setbufvar(a:buf, '&swapfile', 0)
    call setbufvar(a:buf, '&modeline', 0)
    call setbufvar(a:buf, '&modified', 0)
    call covim#doc#reattach(a:buf)
endfunction

function! covim#buffer#unloading(buf) abort
    let l:d = covim#doc#get(a:buf)
    if !empty(l:d)
        call covim#doc#flush(a:buf)
        if l:d.joined
            let l:d.unloaded = getbufline(a:buf, 1, '$')
        endif
        call timer_start(0, function('s:on_unloaded', [l:d]))
    endif
endfunction

" Not a reload, then: the buffer was deleted, and with it our part in this.
function! s:on_unloaded(d, timer) abort
    if !bufloaded(a:d.buf) && a:d.state !=# 'gone'
        call covim#buffer#wiped(a:d.buf)
    endif
endfunction

function! covim#buffer#wiped(buf) abort
    let l:d = covim#doc#get(a:buf)
    if !empty(l:d)
        call covim#leave(l:d.session, 0)
    endif
endfunction

" `:w` on a joined buffer.
function! covim#buffer#write(buf, bang) abort
    let l:d = covim#doc#get(a:buf)
    let l:path = empty(l:d) ? matchstr(bufname(a:buf), '^covim://[^/]*/\zs.*')
                \ : l:d.path
    let l:path = covim#safe_path(l:path)
    if empty(get(g:, 'covim_dir', ''))
        call covim#ui#fail('covim: no file yet: say where with :w FILE, or set'
                    \ . ' g:covim_dir (:help covim-write)')
        return
    endif
    let l:root = resolve(fnamemodify(expand(g:covim_dir), ':p'))
    let l:root = substitute(l:root, '/$', '', '')
    let l:file = l:root . '/' . l:path
    let l:dir = fnamemodify(l:file, ':h')
    try
        if !isdirectory(l:dir)
            call mkdir(l:dir, 'p', 0700)
        endif
    catch
        call covim#ui#fail('covim: cannot make ' . covim#clean(l:dir, 100))
        return
    endtry
    let l:real = substitute(resolve(l:dir), '/$', '', '')
    if l:real !=# l:root && stridx(l:real . '/', l:root . '/') != 0
                \ || getftype(l:file) ==# 'link'
        call covim#ui#fail('covim: ' . covim#clean(l:path, 60)
                    \ . ' leads out of g:covim_dir')
        return
    endif
    if !empty(getftype(l:file)) && !a:bang
                \ && getbufvar(a:buf, 'covim_file', '') !=# l:file
        call covim#ui#fail('covim: ' . covim#clean(l:file, 100)
                    \ . ' exists (add ! to replace it)')
        return
    endif
    try
        execute 'noautocmd keepalt silent write!' fnameescape(l:file)
        call setbufvar(a:buf, 'covim_file', l:file)
        call setbufvar(a:buf, '&modified', 0)
        call covim#ui#tell('covim: written to ' . covim#clean(l:file, 200))
    catch
        call covim#ui#fail('covim: ' . covim#clean(substitute(v:exception,
                    \ '^Vim([a-z]*):', '', ''), 200))
    endtry
endfunction

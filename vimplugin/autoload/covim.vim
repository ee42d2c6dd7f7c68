" covim: the commands, the sessions, and what arrives from the agent.

let s:backend = has('nvim') ? 'covim#nvim#' : 'covim#vim#'
let s:sessions = {}
let s:knocks = []
let s:orphans = {}
let s:in_command = 0
let s:filling = 0
let s:name = ''
let s:max_bytes = 33554432

function! covim#backend(verb, ...) abort
    return call(s:backend . a:verb, a:000)
endfunction

function! covim#in_command() abort
    return s:in_command
endfunction

" Text of other people.  {{{1

" One line that is safe to show: control characters replaced, at most `cells`
" wide.
function! covim#clean(text, cells) abort
    let l:text = type(a:text) == type('') ? a:text : string(a:text)
    let l:text = strtrans(strcharpart(l:text, 0, a:cells + 1))
    if strdisplaywidth(l:text) <= a:cells
        return l:text
    endif
    while strdisplaywidth(l:text) > a:cells - 1
        let l:text = strcharpart(l:text, 0, strchars(l:text) - 1)
    endwhile
    return l:text . '…'
endfunction

" A path from a peer as a relative path that no shell, option or command
" gives a meaning to; never empty, never upwards.
function! covim#safe_path(path) abort
    let l:parts = []
    for l:part in split(type(a:path) == type('') ? a:path : '', '/')
        let l:part = substitute(l:part, '[^[:alnum:]._+@,=-]', '\=s:keep(submatch(0))', 'g')
        let l:part = strcharpart(l:part, 0, 80)
        if l:part !~# '^\.*$'
            call add(l:parts, substitute(l:part, '^[-.]', '_', ''))
        endif
    endfor
    return empty(l:parts) ? 'untitled' : join(reverse(reverse(l:parts)[: 11]), '/')
endfunction

" Letters of other scripts stay; the rest becomes an underscore.
function! s:keep(char) abort
    return char2nr(a:char) >= 0xa1 && strtrans(a:char) ==# a:char
                \ && strdisplaywidth(a:char) > 0 ? a:char : '_'
endfunction

" Sessions.  {{{1

" The session of that number; with a second argument, created or changed.
function! covim#session(id, ...) abort
    if !has_key(s:sessions, a:id)
        let l:new = {'session': a:id, 'key': '', 'state': '', 'stage': '',
                    \ 'hint': '', 'peers': {}, 'buf': -1,
                    \ 'win': 0}
        if !a:0
            return l:new
        endif
        let s:sessions[a:id] = l:new
    endif
    if a:0
        call extend(s:sessions[a:id], a:1)
    endif
    return s:sessions[a:id]
endfunction

function! covim#sessions() abort
    return values(s:sessions)
endfunction

function! covim#knocks() abort
    return copy(s:knocks)
endfunction

function! covim#name() abort
    if exists('g:covim_name') && !empty(g:covim_name)
        return g:covim_name
    endif
    if empty(s:name)
        if executable('git')
            let s:name = get(split(system('git config --get user.name'),
                        \ "\n"), 0, '')
            if v:shell_error
                let s:name = ''
            endif
        endif
        if empty(s:name)
            let s:name = empty($USER) ? 'someone' : $USER
        endif
    endif
    return s:name
endfunction

" Runs User autocommands; g:covim_event says what happened meanwhile.
function! covim#event(name, data) abort
    if exists('#User#' . a:name)
        let g:covim_event = a:data
        try
            execute 'doautocmd <nomodeline> User' a:name
        finally
            unlet! g:covim_event
        endtry
    endif
endfunction

let s:ready = 0

" What has to be there before the first session; starts nothing.
function! s:set_up() abort
    if s:ready
        return
    endif
    let s:ready = 1
    augroup covim
        autocmd!
        autocmd VimLeavePre * call covim#leaving()
        autocmd BufReadCmd covim://* call covim#read(str2nr(expand('<abuf>')))
        autocmd BufWriteCmd covim://* call covim#write(str2nr(expand('<abuf>')), v:cmdbang)
        autocmd OptionSet endofline,fixendofline,binary
                    \ call covim#doc#eol_changed(bufnr('%'))
        if exists('##ModeChanged')
            autocmd ModeChanged * call s:mode_changed(v:event.old_mode,
                        \ v:event.new_mode)
        endif
        if exists('##SafeState')
            autocmd SafeState * call covim#doc#drain()
        endif
    augroup END
endfunction

function! s:mode_changed(old, new) abort
    call covim#backend('mode_changed', a:old, a:new)
    call covim#undo#mode_changed(a:old, a:new)
    if !empty(covim#doc#get(bufnr('%')))
        call covim#view#send_soon(bufnr('%'))
    endif
endfunction

function! covim#leaving() abort
    call covim#doc#flush_all()
    call covim#rpc#finish()
endfunction

" From the agent.  {{{1

let s:handlers = {
            \ 'edit': function('covim#doc#on_edit'),
            \ 'kept': function('covim#doc#on_kept'),
            \ 'presence': function('covim#view#on_presence'),
            \ 'resync': function('covim#doc#on_resync'),
            \ 'eol': function('covim#doc#on_eol')}

function! covim#dispatch(method, params) abort
    if has_key(s:handlers, a:method)
        try
            call s:handlers[a:method](a:params)
        catch
            " A fault of ours must not stop the user with a prompt.
            call covim#ui#say('error', covim#clean('covim: internal error: '
                        \ . a:method . ': ' . v:exception . ' at '
                        \ . v:throwpoint, 400))
        endtry
    endif
endfunction

" Members of messages, when they are of the kind that they should be.
function! covim#num(msg, key, default) abort
    let l:value = get(a:msg, a:key, a:default)
    return type(l:value) == type(0) ? l:value
                \ : type(l:value) == type(0.0) ? float2nr(round(l:value))
                \ : a:default
endfunction

function! covim#str(msg, key, default) abort
    let l:value = get(a:msg, a:key, a:default)
    return type(l:value) == type('') ? l:value : a:default
endfunction

function! covim#bool(msg, key, default) abort
    let l:value = get(a:msg, a:key, a:default)
    return type(l:value) == type(v:true) || type(l:value) == type(0)
                \ ? (l:value ? 1 : 0) : a:default
endfunction

" The lines of a text: strings without line ends, at least one.
function! covim#lines(msg) abort
    let l:lines = get(a:msg, 'lines', [])
    if type(l:lines) != type([])
        return ['']
    endif
    call filter(l:lines, 'type(v:val) == type("")')
    return empty(l:lines) ? [''] : l:lines
endfunction

function! s:on_session(msg) abort
    let l:s = covim#session(covim#num(a:msg, 'session', -1), {})
    let l:was = l:s.state
    let l:s.state = matchstr(covim#str(a:msg, 'state', ''), '^[a-z]*')
    let l:s.stage = covim#clean(covim#str(a:msg, 'stage', ''), 255)
    let l:s.hint = covim#clean(covim#str(a:msg, 'hint', ''), 383)
    let l:text = 'covim: ' . (empty(l:s.stage) ? l:s.state : l:s.stage)
                \ . (empty(l:s.hint) ? '' : ' (' . l:s.hint . ')')
    if l:s.state ==# 'ended'
        call covim#ui#say('warn', l:text)
        call s:forget(l:s.session)
    elseif get(l:s, 'said', '') !=# l:text
        let l:s.said = l:text
        if l:s.state =~# '^\%(finding\|contacting\|punching\|waiting\)$'
                    \ && l:s.buf == -1
            " The way to the text, for the one who waits for it.
            call covim#ui#log(l:text)
            if mode() ==# 'n' && covim#backend('idle')
                echo covim#clean(l:text, max([20, v:echospace]))
            endif
        elseif l:s.state ==# 'offline' || l:was ==# 'offline'
                    \ || !empty(l:s.hint)
            call covim#ui#say(l:s.state ==# 'offline' ? 'warn' : 'info',
                        \ l:text)
        else
            call covim#ui#log(l:text)
        endif
    endif
    call covim#event('CoVimPath', {'session': l:s.session, 'state': l:s.state})
    call covim#ui#refresh()
endfunction
let s:handlers.session = function('s:on_session')

function! s:on_peer(msg) abort
    let l:s = covim#session(covim#num(a:msg, 'session', -1), {})
    let l:id = covim#num(a:msg, 'id', 0)
    let l:state = covim#str(a:msg, 'state', 'changed')
    let l:old = get(l:s.peers, l:id, {})
    if l:state ==# 'left'
        silent! unlet l:s.peers[l:id]
    else
        let l:s.peers[l:id] = {'id': l:id,
                    \ 'name': covim#clean(covim#str(a:msg, 'name', '?'), 32),
                    \ 'fingerprint': covim#clean(covim#str(a:msg, 'fingerprint', ''), 80),
                    \ 'role': matchstr(covim#str(a:msg, 'role', ''), '^[a-z]*'),
                    \ 'path': covim#clean(covim#str(a:msg, 'path', ''), 60),
                    \ 'rtt': covim#num(a:msg, 'rtt_ms', -1)}
    endif
    let l:peer = get(l:s.peers, l:id, l:old)
    if !empty(l:peer)
        if empty(l:old)
            call covim#ui#say('info', 'covim: ' . l:peer.name . ' joined')
        elseif l:state ==# 'left'
            call covim#ui#say('info', 'covim: ' . l:peer.name . ' left')
        endif
        call covim#event(l:state ==# 'left' ? 'CoVimLeft' : empty(l:old)
                    \ ? 'CoVimJoined' : 'CoVimPeer', copy(l:peer))
    endif
    call covim#ui#refresh()
    if bufwinnr('^covim-peers$') != -1
        call covim#ui#window('peers', s:peer_lines(), 0)
    endif
endfunction
let s:handlers.peer = function('s:on_peer')

" The agent chooses what its numbers look like; they go back as they came.
function! s:knock_id(id) abort
    return type(a:id) == type(0) || type(a:id) == type('') ? a:id : -1
endfunction

function! s:on_knock(msg) abort
    let l:id = s:knock_id(get(a:msg, 'id', -1))
    let l:known = filter(copy(s:knocks), 'v:val.id is l:id')
    call filter(s:knocks, 'v:val.id isnot l:id')
    if covim#bool(a:msg, 'gone', 0)
        call covim#ui#refresh()
        return
    endif
    let l:knock = {'id': l:id, 'session': covim#num(a:msg, 'session', -1),
                \ 'name': covim#clean(covim#str(a:msg, 'name', '?'), 32),
                \ 'fingerprint': covim#clean(covim#str(a:msg, 'fingerprint', ''), 80),
                \ 'wants': matchstr(covim#str(a:msg, 'wants', ''), '^[a-z]*')}
    if index(get(g:, 'covim_auto_accept', []), l:knock.fingerprint) >= 0
                \ && !empty(l:knock.fingerprint)
        call covim#ui#log('covim: ' . l:knock.name . ' accepted by'
                    \ . ' g:covim_auto_accept')
        call covim#rpc#request('accept', {'id': l:id},
                    \ function('s:on_answered', ['accept ' . l:knock.name]))
        return
    endif
    call add(s:knocks, l:knock)
    call covim#ui#refresh()
    if empty(l:known)
        call covim#ui#say('knock', 'covim: ' . l:knock.name . ' ['
                    \ . covim#clean(l:knock.fingerprint, 24)
                    \ . '] wants to join: :CoVim accept (or reject)')
        call covim#event('CoVimKnock', copy(l:knock))
    endif
endfunction
let s:handlers.knock = function('s:on_knock')

function! s:on_role(msg) abort
    call covim#doc#on_role(a:msg)
    call covim#ui#say('info', 'covim: you are now '
                \ . covim#clean(covim#str(a:msg, 'role', ''), 20))
    call covim#ui#refresh()
endfunction
let s:handlers.role = function('s:on_role')

function! s:on_notice(msg) abort
    let l:tag = matchstr(covim#str(a:msg, 'tag', ''), '^[a-z0-9-]*$')
    if !empty(l:tag) && index(getcompletion('covim-' . l:tag, 'help'),
                \ 'covim-' . l:tag) < 0
        let l:tag = ''
    endif
    call covim#ui#say(matchstr(covim#str(a:msg, 'level', 'info'), '^[a-z]*'),
                \ 'covim: ' . covim#clean(covim#str(a:msg, 'text', ''), 600)
                \ . (empty(l:tag) ? '' : ' (:help covim-' . l:tag . ')'))
endfunction
let s:handlers.notice = function('s:on_notice')

" A joined document: a buffer of its own, that touches no other and no file.
function! s:on_doc(msg) abort
    let l:id = covim#num(a:msg, 'session', -1)
    if !has_key(s:sessions, l:id) || empty(s:sessions[l:id].key)
        let s:orphans[l:id] = a:msg
        return
    endif
    let l:s = s:sessions[l:id]
    let l:lines = covim#lines(a:msg)
    let l:fields = {'doc': covim#num(a:msg, 'doc', -1),
                \ 'epoch': covim#num(a:msg, 'epoch', -1), 'session': l:id,
                \ 'key': l:s.key, 'role': covim#str(a:msg, 'role', 'editor'),
                \ 'eol': covim#bool(a:msg, 'eol', 1)}
    let l:d = covim#doc#get(l:s.buf)
    if !empty(l:d)
        " The buffer was there before: it takes the text of the others.
        let l:old = getbufline(l:d.buf, 1, '$')
        if l:old !=# l:lines && l:old !=# ['']
            call covim#ui#say('warn', 'covim: ' . l:d.show . ' has the text of'
                        \ . ' the others now; yours is in buffer '
                        \ . covim#ui#keep(l:d.path, l:old))
        endif
        call covim#doc#set_lines(l:d, l:lines)
        call covim#doc#restart(l:d)
        call covim#doc#live(l:d, l:fields)
        call covim#ui#refresh()
        return
    endif
    let l:path = covim#safe_path(covim#str(a:msg, 'path', ''))
    let l:buf = s:new_buffer(l:s.key, l:path)
    call setbufvar(l:buf, '&undolevels', -1)
    call setbufline(l:buf, 1, l:lines)
    call setbufvar(l:buf, '&undolevels', -123456)
    call setbufvar(l:buf, '&eol', l:fields.eol)
    call setbufvar(l:buf, '&fixeol', l:fields.eol)
    if index(['unix', 'dos', 'mac'], covim#str(a:msg, 'ff', '')) >= 0
        call setbufvar(l:buf, '&fileformat', a:msg.ff)
    endif
    call setbufvar(l:buf, '&modified', 0)
    let l:s.buf = l:buf
    let l:d = covim#doc#add(l:buf, extend({'joined': 1, 'path': l:path},
                \ l:fields))
    call covim#doc#live(l:d, {})
    call covim#ui#refresh()
    let l:ft = covim#str(a:msg, 'ft', '')
    if len(l:ft) > 40
                \ || l:ft !~# '^\w\+\%([.-]\w\+\)*$'
        let l:ft = ''
    endif
    call s:show(l:buf, l:s.win, l:ft, 0)
endfunction
let s:handlers.doc = function('s:on_doc')
let s:handlers.token = function('covim#token#on_token')
let s:handlers.doctor = function('covim#doctor#on_progress')

function! s:new_buffer(key, path) abort
    let l:base = 'covim://' . matchstr(substitute(a:key, '^covim1', '', ''),
                \ '^\w\{1,8}') . '/'
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

" Buffers.  {{{1

" `:e` on a joined buffer: the text that it had, for there is no file.
function! covim#read(buf) abort
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

function! covim#unloading(buf) abort
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
        call covim#wiped(a:d.buf)
    endif
endfunction

function! covim#wiped(buf) abort
    let l:d = covim#doc#get(a:buf)
    if !empty(l:d)
        call s:leave_session(l:d.session, 0)
    endif
endfunction

" `:w` on a joined buffer.
function! covim#write(buf, bang) abort
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

" Leaving.  {{{1

" Forgets a session whose end was seen; buffers stay, editable.
function! s:forget(id) abort
    let l:s = covim#session(a:id)
    for l:d in covim#doc#all()
        if l:d.session == a:id
            call covim#doc#remove(l:d)
        endif
    endfor
    call filter(s:knocks, 'v:val.session != a:id && v:val.session != -1')
    silent! unlet s:sessions[a:id]
    silent! unlet s:orphans[a:id]
    call covim#ui#refresh()
endfunction

function! s:leave_session(id, tell) abort
    for l:d in covim#doc#all()
        if l:d.session == a:id
            call covim#doc#flush(l:d.buf)
        endif
    endfor
    if covim#rpc#state() ==# 'ready'
        call covim#rpc#request('leave', {'session': a:id},
                    \ function('s:on_left', [a:tell]))
    endif
    call s:forget(a:id)
    if empty(s:sessions) && empty(covim#doc#all())
                \ && covim#rpc#state() !=# 'ready'
        call covim#rpc#shutdown()
    endif
endfunction

function! s:on_left(tell, error, result) abort
    if !empty(a:error)
        call covim#ui#error('leave', a:error)
    elseif a:tell
        call covim#ui#tell('covim: left; the text stays here')
    endif
endfunction

" The agent is gone.  Returns how much there is to go on with once there is
" another: documents, and sessions that are still being looked for.
function! covim#agent_gone() abort
    let s:rejoin = []
    for l:s in values(s:sessions)
        if !empty(l:s.key) && l:s.buf == -1
            call add(s:rejoin, [l:s.key, l:s.win])
        endif
    endfor
    let s:sessions = {}
    let s:knocks = []
    let s:orphans = {}
    return covim#doc#detach() + len(s:rejoin)
endfunction

function! covim#agent_back() abort
    call covim#doc#resume()
    let l:rejoin = get(s:, 'rejoin', [])
    let s:rejoin = []
    for [l:key, l:win] in l:rejoin
        call covim#rpc#request('join', {'key': l:key},
                    \ function('s:on_join', [l:key, l:win, -1]))
    endfor
endfunction

function! covim#rejoin(d) abort
    call covim#rpc#request('join', {'key': a:d.key},
                \ function('s:on_join', [a:d.key, 0, a:d.buf]))
endfunction

" Commands.  {{{1

let s:commands = {}

" With a range its lines, else [].
let s:range = []

function! covim#command(bang, args, ...) abort
    let l:missing = covim#missing()
    if !empty(l:missing)
        echohl ErrorMsg
        echomsg l:missing
        echohl None
        return
    endif
    call s:set_up()
    let l:words = split(a:args)
    let l:verb = empty(l:words) ? 'status' : remove(l:words, 0)
    " :CoVim share! and :CoVim! share are the same.
    let l:bang = a:bang || l:verb =~# '.!$'
    let l:verb = substitute(l:verb, '!$', '', '')
    let l:verb = get({'disconnect': 'leave'}, l:verb, l:verb)
    let s:in_command = 1
    let s:range = a:0 ? a:1 : []
    try
        if !has_key(s:commands, l:verb)
            throw 'covim: no such command: ' . covim#clean(l:verb, 40)
                        \ . ' (:help :CoVim)'
        endif
        call s:commands[l:verb](l:bang, l:words)
    catch /^covim:/
        call covim#ui#fail(v:exception)
    finally
        let s:in_command = 0
    endtry
endfunction

function! covim#missing() abort
    if has('nvim')
        return has('nvim-0.7.2') ? ''
                    \ : 'covim: Neovim 0.7.2 or later is needed'
                    \ . ' (:help covim-requirements)'
    endif
    return covim#vim#missing()
endfunction

function! covim#complete(lead, line, pos) abort
    let l:words = split(strpart(a:line, 0, a:pos), '\s\+', 1)
    let l:verb = get(l:words, 1, '')
    if len(l:words) <= 2
        let l:all = sort(keys(s:commands) + ['disconnect'])
    elseif l:verb ==# 'share'
        let l:all = ['--open', '--ask', '--readonly', '--name']
    elseif l:verb ==# 'accept' || l:verb ==# 'reject'
        let l:all = map(covim#knocks(), 'v:val.name')
        if l:verb ==# 'accept'
            let l:all += ['readonly']
        endif
    elseif l:verb =~# '^revert!\=$'
        " A name of several words is completed as a whole.
        let l:lead = matchstr(strpart(a:line, 0, a:pos), 'revert!\=\s\+\zs.*')
        return map(filter(covim#blame#names(), 'stridx(v:val, l:lead) == 0'),
                    \ 'strpart(v:val, len(l:lead) - len(a:lead))')
    else
        let l:all = []
    endif
    return filter(l:all, 'stridx(v:val, a:lead) == 0')
endfunction

function! s:set_name(name) abort
    if a:name ==# covim#name()
        return
    endif
    if covim#rpc#state() !=# ''
        if !empty(s:sessions) || !empty(covim#doc#all())
            throw 'covim: the name cannot change while a session lives'
        endif
    endif
    let g:covim_name = a:name
    call covim#rpc#rename()
endfunction

" The session that a command without a name means.
function! s:current_session() abort
    let l:d = covim#doc#get(bufnr('%'))
    if !empty(l:d)
        return l:d.session
    endif
    if len(s:sessions) == 1
        return values(s:sessions)[0].session
    endif
    throw empty(s:sessions) ? 'covim: no session'
                \ : 'covim: several sessions: go to the buffer of one first'
endfunction

function! s:commands.share(bang, words) abort
    let l:params = {'admission': 'ask', 'role': 'editor'}
    let l:words = copy(a:words)
    while !empty(l:words)
        let l:word = remove(l:words, 0)
        if l:word ==# '--open'
            let l:params.admission = 'open'
        elseif l:word ==# '--ask'
            let l:params.admission = 'ask'
        elseif l:word ==# '--readonly'
            let l:params.role = 'viewer'
        elseif l:word ==# '--name' && !empty(l:words)
            call s:set_name(join(remove(l:words, 0, -1)))
        else
            throw 'covim: share does not know ' . covim#clean(l:word, 40)
                        \ . ' (:help covim-share)'
        endif
    endwhile
    let l:buf = bufnr('%')
    let l:d = covim#doc#get(l:buf)
    if !empty(l:d)
        if empty(l:d.key)
            throw 'covim: this buffer is being shared already'
        endif
        call s:hand_out(l:d.key, a:bang, '')
        return
    endif
    if &buftype !=# ''
        throw 'covim: only ordinary buffers can be shared, this is "'
                    \ . &buftype . '" (:help covim-share)'
    endif
    let l:bytes = wordcount().bytes
    if l:bytes > get(g:, 'covim_max_bytes', s:max_bytes)
        throw 'covim: the text is too large: ' . l:bytes . ' bytes'
                    \ . ' (:help g:covim_max_bytes)'
    endif
    let l:snapshot = covim#doc#snapshot(l:buf)
    let l:refusal = covim#doc#refusal(l:snapshot.lines)
    if !empty(l:refusal)
        throw 'covim: not shared: ' . l:refusal . ' (:help covim-refused)'
    endif
    let l:path = fnamemodify(bufname('%'), ':p:.')
    if l:path =~# '^[/~]' || l:path =~# '\%(^\|/\)\.\.\%(/\|$\)'
        let l:path = fnamemodify(l:path, ':t')
    endif
    let l:params.path = empty(l:path) ? 'untitled' : l:path
    if !empty(covim#doc#refusal([l:params.path]))
        let l:params.path = covim#safe_path(strtrans(l:params.path))
    endif
    call extend(l:params, l:snapshot)
    call covim#rpc#start()
    let l:d = covim#doc#add(l:buf, {'path': l:params.path, 'role': 'host',
                \ 'mine': 1})
    call covim#rpc#request('share', l:params,
                \ function('s:on_shared', [l:d, a:bang]))
endfunction

function! s:on_shared(d, bang, error, result) abort
    if !empty(a:error)
        call covim#doc#remove(a:d)
        call covim#ui#error('share', a:error)
        call covim#ui#refresh()
        return
    endif
    let l:session = a:result.session
    call covim#session(l:session, {'key': a:result.key, 'buf': a:d.buf,
                \ 'mine': 1})
    if a:d.state ==# 'gone'
        call s:leave_session(l:session, 0)
        return
    endif
    call covim#doc#live(a:d, {'doc': a:result.doc, 'epoch': a:result.epoch,
                \ 'session': l:session, 'key': a:result.key})
    call covim#ui#refresh()
    if get(a:d, 'by_token', 0)
        call covim#token#ask(l:session)
    else
        call s:hand_out(a:result.key, a:bang, get(a:result, 'osc52', ''))
    endif
    call covim#event('CoVimShared', {'buf': a:d.buf, 'key': a:result.key})
endfunction

" Shows the key, and puts it where it can be pasted from.
function! s:hand_out(key, bang, osc52) abort
    if a:bang
        call setreg('"', a:key)
    endif
    if get(g:, 'covim_osc52', 1) && type(a:osc52) == type('')
                \ && a:osc52 =~# '^\e]52;[a-z]*;[A-Za-z0-9+/=]*\%(\%x07\|\e\\\)$'
        call covim#backend('terminal', a:osc52)
    endif
    call covim#ui#key(a:key)
endfunction

function! s:commands.join(bang, words) abort
    let l:words = copy(a:words)
    if empty(l:words)
        throw 'covim: join which key? (:help covim-join)'
    endif
    let l:key = remove(l:words, 0)
    if len(l:words) >= 2 && l:words[0] ==# 'as'
        call s:set_name(join(l:words[1 :]))
    elseif !empty(l:words)
        throw 'covim: join takes KEY [as NAME] (:help covim-join)'
    endif
    for l:d in covim#doc#all()
        if l:d.key ==# l:key
            throw 'covim: this session is in buffer ' . l:d.buf . ' already'
        endif
    endfor
    for l:s in values(s:sessions)
        if l:s.key ==# l:key
            throw 'covim: joining already: ' . l:s.state
        endif
    endfor
    call covim#rpc#request('join', {'key': l:key},
                \ function('s:on_join', [l:key, win_getid(), -1]))
    redraw
    echo 'covim: looking for the session'
endfunction

function! s:on_join(key, win, buf, error, result) abort
    if !empty(a:error)
        call covim#ui#error('join', a:error)
        let l:d = covim#doc#get(a:buf)
        if !empty(l:d) && !get(a:error, 'ended', 0)
            call covim#doc#remove(l:d)
        elseif !empty(l:d)
            let l:d.state = 'detached'
        endif
        call covim#ui#refresh()
        return
    endif
    let l:s = covim#session(a:result.session, {'key': a:key, 'win': a:win,
                \ 'buf': a:buf})
    if empty(l:s.state)
        let l:s.state = 'finding'
    endif
    call covim#ui#refresh()
    if has_key(s:orphans, l:s.session)
        call s:on_doc(remove(s:orphans, l:s.session))
    endif
endfunction

" By hand: tokens instead of the hash table.  The legacy forms took a port,
" too; here the agent has one.
function! s:commands.start(bang, words) abort
    let l:words = copy(a:words)
    if get(l:words, 0, '') =~# '^\d\+$'
        call remove(l:words, 0)
    endif
    if !empty(l:words)
        call s:set_name(join(l:words))
    endif
    let l:d = covim#doc#get(bufnr('%'))
    if !empty(l:d) && !empty(l:d.key)
        call covim#token#ask(l:d.session)
        return
    endif
    call s:commands.share(a:bang, [])
    let l:d = covim#doc#get(bufnr('%'))
    let l:d.by_token = 1
endfunction

function! s:commands.host(bang, words) abort
    call s:commands.start(a:bang, a:words)
endfunction

function! s:commands.token(bang, words) abort
    call covim#token#again()
endfunction

function! s:commands.add(bang, words) abort
    let [l:token, l:words] = covim#token#take(a:words, covim#token#guest())
    if !empty(l:words)
        throw 'covim: add takes one TOKEN (:help covim-token)'
    endif
    if covim#rpc#state() ==# ''
        throw 'covim: no session waits for a token: :CoVim start first'
    endif
    call covim#token#add(l:token)
endfunction

function! s:commands.connect(bang, words) abort
    let l:keys = filter(copy(a:words), 'v:val =~? "^covim1"')
    if !empty(l:keys)
        call s:commands.join(a:bang, [l:keys[0]])
        return
    elseif covim#token#is_address(a:words)
        throw 'covim: an address alone does not say who answers there: ask for'
                    \ . ' a key (:CoVim join KEY), or for a token (:CoVim start'
                    \ . ' there) (:help covim-token)'
    endif
    let [l:token, l:words] = covim#token#take(a:words, covim#token#host())
    if get(l:words, 0, '') ==# 'as'
        call remove(l:words, 0)
    endif
    if !empty(l:words)
        call s:set_name(join(l:words))
    endif
    call covim#rpc#request('connect', {'token': l:token},
                \ function('s:on_connect', [win_getid()]))
endfunction

function! s:on_connect(win, error, result) abort
    if !empty(a:error)
        call covim#ui#error('connect', a:error)
        return
    endif
    call s:on_join(a:result.key, a:win, -1, {}, a:result)
endfunction

" The knock that a command means: by name, by number, or the only one.
function! s:which_knock(words) abort
    if empty(s:knocks)
        throw 'covim: nobody knocks'
    endif
    if empty(a:words)
        if len(s:knocks) > 1
            throw 'covim: who? ' . join(map(covim#knocks(), 'v:val.name'), ', ')
        endif
        return s:knocks[0]
    endif
    let l:name = join(a:words)
    let l:found = filter(covim#knocks(),
                \ 'v:val.name ==# l:name || v:val.id . "" ==# l:name')
    if len(l:found) != 1
        throw empty(l:found) ? 'covim: no knock of ' . covim#clean(l:name, 32)
                    \ : 'covim: several of that name, use the number: '
                    \ . join(map(l:found, 'v:val.id'), ', ')
    endif
    return l:found[0]
endfunction

function! s:commands.accept(bang, words) abort
    let l:words = copy(a:words)
    let l:params = {}
    if !empty(l:words) && l:words[-1] ==# 'readonly'
        call remove(l:words, -1)
        let l:params.role = 'viewer'
    endif
    let l:knock = s:which_knock(l:words)
    let l:params.id = l:knock.id
    call s:answer('accept', l:params, l:knock)
endfunction

function! s:commands.reject(bang, words) abort
    let l:knock = s:which_knock(a:words)
    call s:answer('reject', {'id': l:knock.id}, l:knock)
endfunction

function! s:answer(method, params, knock) abort
    call covim#rpc#request(a:method, a:params,
                \ function('s:on_answered', [a:method . ' ' . a:knock.name]))
    call filter(s:knocks, 'v:val.id isnot a:knock.id')
    call covim#ui#refresh()
endfunction

function! s:on_answered(what, error, result) abort
    if !empty(a:error)
        call covim#ui#error(a:what, a:error)
    else
        call covim#ui#log('covim: ' . a:what)
    endif
endfunction

function! s:commands.peers(bang, words) abort
    if empty(s:sessions)
        throw 'covim: no session'
    endif
    call covim#ui#window('peers', s:peer_lines(), 1)
endfunction

function! s:peer_lines() abort
    let l:lines = []
    for l:s in values(s:sessions)
        for l:peer in values(l:s.peers)
            let l:where = ''
            for l:d in covim#doc#all()
                for l:place in l:d.session == l:s.session ? l:d.places : []
                    if l:place.id == l:peer.id
                        let l:where = l:d.show . ':' . l:place.line
                    endif
                endfor
            endfor
            call add(l:lines, printf('%-16s %-7s %-20s %-12s %s  %s',
                        \ l:peer.name, l:peer.role, l:where, l:peer.path,
                        \ l:peer.rtt >= 0 ? l:peer.rtt . ' ms' : '-',
                        \ l:peer.fingerprint))
        endfor
    endfor
    for l:knock in s:knocks
        call add(l:lines, printf('%-16s knocks  [%s] :CoVim accept %s',
                    \ l:knock.name, l:knock.fingerprint, l:knock.name))
    endfor
    return empty(l:lines) ? ['nobody else is here'] : l:lines
endfunction

function! s:commands.status(bang, words) abort
    if covim#rpc#state() ==# '' && empty(covim#doc#all())
        let l:last = covim#ui#last_error()
        echo covim#clean('covim: no session; :CoVim share or :CoVim join KEY'
                    \ . (empty(l:last) ? '' : '; last: ' . l:last),
                    \ max([20, v:echospace]))
        return
    endif
    call covim#ui#window('status', s:status_lines({}), 1)
    if covim#rpc#state() ==# 'ready'
        call covim#rpc#request('status', {}, function('s:on_status'))
    endif
endfunction

function! s:on_status(error, result) abort
    if empty(a:error)
        call covim#ui#window('status', s:status_lines(a:result), 0)
    endif
endfunction

function! s:status_lines(result) abort
    let l:hello = covim#rpc#hello()
    let l:state = covim#rpc#state()
    let l:lines = ['agent     ' . (l:state ==# 'ready'
                \ ? covim#clean(get(l:hello, 'version', '?'), 40) : l:state),
                \ 'you       ' . covim#clean(get(l:hello, 'name', ''), 32) . '  '
                \ . covim#clean(get(l:hello, 'fingerprint', ''), 80)]
    let l:dht = get(a:result, 'dht', {})
    if type(l:dht) == type({}) && !empty(l:dht)
        call add(l:lines, 'dht       ' . covim#clean(get(l:dht, 'state', ''), 30))
    endif
    let l:network = get(a:result, 'network', '')
    if type(l:network) == type('') && !empty(l:network)
        call add(l:lines, 'network   ' . covim#clean(l:network, 200))
    endif
    for l:s in values(s:sessions)
        call add(l:lines, 'session   ' . l:s.state . '  ' . l:s.stage
                    \ . (empty(l:s.hint) ? '' : ' (' . l:s.hint . ')'))
        call add(l:lines, 'key       ' . covim#clean(l:s.key, 120))
        for l:d in covim#doc#all()
            if l:d.session == l:s.session
                call add(l:lines, 'document  buffer ' . l:d.buf . ' ' . l:d.show
                            \ . ', ' . l:d.role . ', ' . l:d.unsynced
                            \ . ' unsynced')
            endif
        endfor
        for l:peer in values(l:s.peers)
            call add(l:lines, 'peer      ' . l:peer.name . ', ' . l:peer.role
                        \ . ', ' . (empty(l:peer.path) ? 'no path' : l:peer.path)
                        \ . (l:peer.rtt >= 0 ? ' ' . l:peer.rtt . ' ms' : ''))
        endfor
    endfor
    for l:d in covim#doc#all()
        if l:d.state !=# 'live'
            call add(l:lines, 'document  buffer ' . l:d.buf . ' ' . l:d.show
                        \ . ', ' . l:d.state)
        endif
    endfor
    let l:error = get(a:result, 'last_error', '')
    if type(l:error) == type('') && !empty(l:error)
        call add(l:lines, 'error     ' . covim#clean(l:error, 200))
    elseif !empty(covim#ui#last_error())
        call add(l:lines, 'error     ' . covim#ui#last_error())
    endif
    return l:lines
endfunction

function! s:commands.doctor(bang, words) abort
    if len(a:words) > 1
        throw 'covim: :CoVim doctor takes one key at most'
    endif
    call covim#doctor#run(a:bang, get(a:words, 0, ''))
endfunction

function! s:commands.undo(bang, words) abort
    call covim#undo#run('undo', max([1, str2nr(get(a:words, 0, '1'))]))
endfunction

function! s:commands.redo(bang, words) abort
    call covim#undo#run('redo', max([1, str2nr(get(a:words, 0, '1'))]))
endfunction

function! s:commands.blame(bang, words) abort
    if !empty(s:range)
        call covim#blame#tell(s:range[0], s:range[1])
    elseif a:bang
        call covim#blame#tell(line('.'), line('.'))
    else
        call covim#blame#toggle()
    endif
endfunction

function! s:commands.revert(bang, words) abort
    call covim#blame#revert(join(a:words), a:bang)
endfunction

function! s:commands.leave(bang, words) abort
    call s:leave_session(s:current_session(), 1)
endfunction

function! s:commands.quit(bang, words) abort
    for l:s in values(s:sessions)
        call s:leave_session(l:s.session, 0)
    endfor
    execute a:bang ? 'qall!' : 'qall'
endfunction

function! s:commands.log(bang, words) abort
    call covim#ui#show_log()
endfunction

" For 'statusline': %{covim#statusline()}
function! covim#statusline() abort
    return s:ready ? covim#ui#statusline(bufnr('%')) : ''
endfunction

" covim: the sessions, and what arrives from the agent.

let s:backend = has('nvim') ? 'covim#nvim#' : 'covim#vim#'
let s:sessions = {}
let s:knocks = []
let s:orphans = {}
let s:name = ''

function! covim#backend(verb, ...) abort
    return call(s:backend . a:verb, a:000)
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
function! covim#set_up() abort
    if s:ready
        return
    endif
    let s:ready = 1
    augroup covim
        autocmd!
        autocmd VimLeavePre * call covim#leaving()
        autocmd BufReadCmd covim://* call covim#buffer#read(str2nr(expand('<abuf>')))
        autocmd BufWriteCmd covim://* call covim#buffer#write(str2nr(expand('<abuf>')), v:cmdbang)
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

" A visual-block insert copies its text to the other lines at its end.
let s:block_insert = 0

function! covim#in_block_insert() abort
    return s:block_insert
endfunction

function! s:mode_changed(old, new) abort
    if a:old[0] ==# "\<C-v>" && a:new[0] ==# 'i'
        let s:block_insert = 1
    elseif s:block_insert && a:new[0] !=# 'i'
        let s:block_insert = 0
    endif
    call covim#backend('mode_changed')
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
            \ 'eol': function('covim#doc#on_eol'),
            \ 'token': function('covim#token#on_token'),
            \ 'doctor': function('covim#doctor#on_progress')}

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
            call covim#follow#left(l:s.session, l:id)
        endif
        call covim#event(l:state ==# 'left' ? 'CoVimLeft' : empty(l:old)
                    \ ? 'CoVimJoined' : 'CoVimPeer', copy(l:peer))
    endif
    call covim#ui#refresh()
    call covim#ui#refresh_peers()
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
        call covim#answer('accept', {'id': l:id}, l:knock)
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

" A document whose session has no key yet waits for the answer that says it.
function! s:on_doc(msg) abort
    let l:id = covim#num(a:msg, 'session', -1)
    if !has_key(s:sessions, l:id) || empty(s:sessions[l:id].key)
        let s:orphans[l:id] = a:msg
    else
        call covim#buffer#open(a:msg, s:sessions[l:id])
    endif
endfunction
let s:handlers.doc = function('s:on_doc')

" Answering, joining.  {{{1

" Accept or reject who knocks.
function! covim#answer(method, params, knock) abort
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

" `win`: where the text is to be shown; `buf`: the buffer that has it, or -1.
function! covim#join(key, win, buf) abort
    call covim#rpc#request('join', {'key': a:key},
                \ function('s:on_join', [a:key, a:win, a:buf]))
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

function! covim#connect(token, win) abort
    call covim#rpc#request('connect', {'token': a:token},
                \ function('s:on_connect', [a:win]))
endfunction

function! s:on_connect(win, error, result) abort
    if !empty(a:error)
        call covim#ui#error('connect', a:error)
        return
    endif
    call s:on_join(a:result.key, a:win, -1, {}, a:result)
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

function! covim#leave(id, tell) abort
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
        call covim#join(l:key, l:win, -1)
    endfor
endfunction

function! covim#missing() abort
    if has('nvim')
        return has('nvim-0.7.2') ? ''
                    \ : 'covim: Neovim 0.7.2 or later is needed'
                    \ . ' (:help covim-requirements)'
    endif
    return covim#vim#missing()
endfunction

" For 'statusline': %{covim#statusline()}
function! covim#statusline() abort
    return s:ready ? covim#ui#statusline(bufnr('%'))
                \ . covim#follow#statusline() : ''
endfunction

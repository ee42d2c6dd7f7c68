" covim: the manual rendezvous.  Two tokens carried by hand stand for what the
" distributed hash table does otherwise.

let s:host = 'covimhost1'
let s:guest = 'covimguest1'
let s:shown = ''
" Of a whole token (docs/protocol.md, 4): what follows it is something else.
let s:lengths = [903, 995, 1044, 2004]

" The token that a command names, and the words behind it: a token may have
" been broken into several words on its way.  Without words, from a register.
function! covim#token#take(words, prefix) abort
    if empty(a:words)
        for l:reg in ['+', '*', '"']
            let l:text = substitute(getreg(l:reg), '\_s', '', 'g')
            if stridx(tolower(l:text), a:prefix) == 0
                return [l:text, []]
            endif
        endfor
        throw 'covim: which token? Copy it, or write it behind the command'
                    \ . ' (:help covim-token)'
    endif
    let l:words = copy(a:words)
    let l:token = remove(l:words, 0)
    while !empty(l:words) && index(s:lengths, len(l:token)) < 0
                \ && len(l:token) < s:lengths[-1]
        let l:token .= remove(l:words, 0)
    endwhile
    return [l:token, l:words]
endfunction

function! covim#token#host() abort
    return s:host
endfunction

function! covim#token#guest() abort
    return s:guest
endfunction

" Is this what the legacy plugin connected to, an address and a port?
function! covim#token#is_address(words) abort
    return !empty(a:words) && a:words[0] !~? '^covim'
                \ && (a:words[0] =~# '[.:]' || get(a:words, 1, '') =~# '^\d\+$')
endfunction

function! covim#token#ask(session) abort
    call covim#rpc#request('token', {'session': a:session},
                \ function('s:on_asked'))
endfunction

function! s:on_asked(error, result) abort
    if !empty(a:error)
        call covim#ui#error('start', a:error)
    endif
endfunction

function! covim#token#add(token) abort
    call covim#rpc#request('add', {'token': a:token}, function('s:on_added'))
endfunction

function! s:on_added(error, result) abort
    if !empty(a:error)
        call covim#ui#error('add', a:error)
        return
    endif
    call covim#ui#say('info', 'covim: the token is good; opening a path to the'
                \ . ' guest')
endfunction

" From the agent: a token to carry to the other side.
function! covim#token#on_token(msg) abort
    let l:token = covim#str(a:msg, 'token', '')
    if l:token !~# '^covim\%(host\|guest\)1[a-z0-9]\{1,3000}$'
        call covim#ui#say('error', 'covim: '
                    \ . covim#clean(covim#str(a:msg, 'why', 'unknown'), 200))
        return
    endif
    let s:shown = l:token
    let l:minutes = covim#num(a:msg, 'expires_s', 900) / 60
    let l:host = stridx(l:token, s:host) == 0
    let l:lines = l:host ? [
                \ 'Your token for one guest, good for ' . l:minutes . ' minutes, once.',
                \ 'Who has it can find you and knock: send it to nobody else.',
                \ 'The guest types   :CoVim connect TOKEN   and sends you one back;',
                \ 'then you type     :CoVim add TOKEN']
                \ : ['Your token for the host, good for ' . l:minutes . ' minutes, once.',
                \ 'Send it back; the host types   :CoVim add TOKEN']
    let l:lines += [':CoVim token copies it.', ''] + s:broken(l:token)
    call covim#event('CoVimToken', {'token': l:token,
                \ 'kind': l:host ? 'host' : 'guest'})
    if covim#backend('idle')
        call covim#token#show(l:lines)
    else
        let s:lines = l:lines
        call covim#ui#say('info', 'covim: the token is there: :CoVim token')
    endif
endfunction

let s:lines = []

function! covim#token#show(lines) abort
    let s:lines = a:lines
    if empty(a:lines)
        throw 'covim: there is no token: :CoVim start makes one'
    endif
    let l:win = win_getid()
    call covim#ui#window('token', a:lines, 1)
    call win_gotoid(l:win)
endfunction

function! covim#token#again() abort
    call covim#token#show(s:lines)
    call covim#token#copy()
endfunction

function! covim#token#copy() abort
    call setreg('"', s:shown)
    if has('clipboard')
        silent! call setreg('+', s:shown)
    endif
    call covim#ui#say('info', 'covim: the token is in register "'
                \ . (has('clipboard') ? ' and the clipboard' : ''))
endfunction

" White space in it does no harm, so it may be as narrow as the window.
function! s:broken(token) abort
    let l:width = max([40, min([72, &columns - 4])])
    let l:lines = []
    let l:at = 0
    while l:at < len(a:token)
        call add(l:lines, strpart(a:token, l:at, l:width))
        let l:at += l:width
    endwhile
    return l:lines
endfunction

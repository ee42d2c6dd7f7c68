" covim#ui: what the user sees: messages, the log, windows, the status line.

let s:log = []
let s:log_max = 1000
let s:status = ''
let s:state = {}

" Messages.  {{{1

function! covim#ui#log(text) abort
    call add(s:log, strftime('%H:%M:%S ') . a:text)
    if len(s:log) > s:log_max
        call remove(s:log, 0, len(s:log) - s:log_max - 1)
    endif
endfunction

function! covim#ui#lines() abort
    return copy(s:log)
endfunction

" Something happened by itself: a popup that takes no key, and a log line.
" `text` holds nothing from others that did not pass covim#clean().
function! covim#ui#say(level, text) abort
    call covim#ui#log(a:text)
    let l:group = a:level ==# 'error' ? 'CoVimOffline'
                \ : a:level ==# 'warn' || a:level ==# 'knock' ? 'CoVimKnock'
                \ : 'Normal'
    call covim#backend('popup', a:text, l:group,
                \ a:level ==# 'info' ? 4000 : 10000)
endfunction

" A long command (a pasted key) can take two lines of a narrow window; a
" message below it would ask for Enter, so the screen is drawn first.
function! s:make_room() abort
    if covim#command#running()
        redraw
    endif
endfunction

" The answer to a command of the user: one line that never asks for a key.
function! covim#ui#tell(text) abort
    call covim#ui#log(a:text)
    let l:quiet = mode() =~# '^[cr!]'
    if l:quiet && !covim#command#running()
        call covim#backend('popup', a:text, 'Normal', 10000)
        return
    endif
    call s:make_room()
    echomsg strdisplaywidth(a:text) <= v:echospace ? a:text
                \ : covim#clean(a:text, max([20, v:echospace]))
endfunction

function! covim#ui#fail(text) abort
    call covim#ui#log(a:text)
    if mode() =~# '^[cr!]' && !covim#command#running()
        call covim#backend('popup', a:text, 'CoVimOffline', 10000)
        return
    endif
    if strdisplaywidth(a:text) > v:echospace && !covim#command#running()
        call covim#backend('popup', a:text, 'CoVimOffline', 10000)
    endif
    call s:make_room()
    echohl ErrorMsg
    echomsg strdisplaywidth(a:text) <= v:echospace || covim#command#running()
                \ ? a:text : covim#clean(a:text, max([20, v:echospace]))
    echohl None
endfunction

" The sentence of an error of the agent, and what to do.
function! covim#ui#error(what, error) abort
    let l:text = 'covim: ' . covim#clean(a:what, 60) . ': '
                \ . covim#clean(get(a:error, 'message', 'failed'), 200)
    let l:data = get(a:error, 'data', {})
    if type(l:data) == type({}) && type(get(l:data, 'hint', 0)) == type('')
                \ && !empty(l:data.hint)
        let l:text .= ' (' . covim#clean(l:data.hint, 200) . ')'
    endif
    let s:last_error = l:text
    call covim#ui#fail(l:text)
endfunction

function! covim#ui#last_error() abort
    return get(s:, 'last_error', '')
endfunction

" The key on a line of its own, so that it can be selected as a whole.
function! covim#ui#key(key) abort
    call covim#ui#log('covim: shared')
    let l:text = 'covim: key ' . a:key
    if strdisplaywidth(l:text) > v:echospace
        let l:text = a:key
    endif
    if mode() =~# '^[cr!]' && !covim#command#running()
                \ || strdisplaywidth(l:text) > v:echospace
        call covim#backend('popup', a:key, 'Normal', 30000)
    else
        call s:make_room()
        echomsg l:text
    endif
endfunction

" Windows.  {{{1

" Shows lines in a scratch window of that name; fills it again if it is open.
function! covim#ui#window(name, lines, open) abort
    let l:name = 'covim-' . a:name
    let l:buf = bufnr('^' . l:name . '$')
    if l:buf == -1 || !bufloaded(l:buf) || bufwinnr(l:buf) == -1
        if !a:open
            return
        endif
        let l:height = max([3, min([len(a:lines) + 1, &lines / 3])])
        execute 'keepalt botright' l:height . 'new'
        if l:buf != -1
            execute 'keepalt buffer' l:buf
        else
            execute 'silent keepalt file' l:name
        endif
        setlocal buftype=nofile bufhidden=wipe noswapfile nobuflisted
        setlocal nomodeline nonumber norelativenumber nolist nowrap
        setlocal winfixheight nospell foldcolumn=0
        nnoremap <silent> <buffer> <nowait> q :<C-u>close<CR>
        let l:buf = bufnr('%')
    endif
    call s:fill(l:buf, a:lines)
endfunction

" The cursor stays in its line.
function! s:fill(buf, lines) abort
    if getbufline(a:buf, 1, '$') ==# a:lines
        return
    endif
    call setbufvar(a:buf, '&modifiable', 1)
    call setbufline(a:buf, 1, a:lines)
    silent call deletebufline(a:buf, len(a:lines) + 1, '$')
    call setbufvar(a:buf, '&modifiable', 0)
    call setbufvar(a:buf, '&modified', 0)
endfunction

" Fills the window of :CoVim peers again, if it is open.
function! covim#ui#refresh_peers() abort
    if bufwinnr('^covim-peers$') != -1
        call covim#ui#window('peers', covim#ui#peer_lines(), 0)
    endif
endfunction

function! covim#ui#show_log() abort
    call covim#ui#window('log', ['covim log'] + s:log
                \ + map(copy(covim#rpc#stderr()), '"agent: " . v:val'), 1)
    normal! G
endfunction

" What :CoVim peers shows: of each line its text, and who it is.
function! covim#ui#peer_rows() abort
    let l:rows = []
    for l:s in covim#sessions()
        for l:peer in values(l:s.peers)
            let l:where = ''
            for l:d in covim#doc#all()
                for l:place in l:d.session == l:s.session ? l:d.places : []
                    if l:place.id == l:peer.id
                        let l:where = l:d.show . ':' . l:place.line
                    endif
                endfor
            endfor
            call add(l:rows, {'session': l:s.session,
                        \ 'fingerprint': l:peer.fingerprint,
                        \ 'text': printf('%-16s %-7s %-20s %-12s %s  %s',
                        \ l:peer.name, l:peer.role, l:where, l:peer.path,
                        \ l:peer.rtt >= 0 ? l:peer.rtt . ' ms' : '-',
                        \ l:peer.fingerprint)})
        endfor
    endfor
    for l:knock in covim#knocks()
        call add(l:rows, {'text': printf('%-16s knocks  [%s] :CoVim accept %s',
                    \ l:knock.name, l:knock.fingerprint, l:knock.name)})
    endfor
    return empty(l:rows) ? [{'text': 'nobody else is here'}] : l:rows
endfunction

function! covim#ui#peer_lines() abort
    return map(covim#ui#peer_rows(), 'v:val.text')
endfunction

" What :CoVim status shows; `result` is the answer of the agent, or {}.
function! covim#ui#status_lines(result) abort
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
    for l:s in covim#sessions()
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

" Keeps text that lost in a hidden buffer; returns its number.
function! covim#ui#keep(path, lines) abort
    let l:count = get(s:, 'kept', 0) + 1
    let s:kept = l:count
    let l:buf = bufadd('covim-kept-' . l:count . '-'
                \ . fnamemodify(covim#safe_path(a:path), ':t'))
    call setbufvar(l:buf, '&buftype', 'nofile')
    call setbufvar(l:buf, '&swapfile', 0)
    call setbufvar(l:buf, '&bufhidden', 'hide')
    call setbufvar(l:buf, '&buflisted', 1)
    call bufload(l:buf)
    call setbufvar(l:buf, '&modeline', 0)
    call setbufvar(l:buf, '&buftype', 'nofile')
    call setbufline(l:buf, 1, a:lines)
    return l:buf
endfunction

" Status.  {{{1

" The short form for one session, e.g. `co:3 direct 24ms`, or `co:3 gate` when
" a gate leads to one of them.
function! s:short(d) abort
    if a:d.state ==# 'detached'
        return 'co:- no agent' . (a:d.unsynced > 0 ? ' unsynced' : '')
    elseif a:d.state ==# 'opening'
        return 'co:-'
    endif
    let l:s = covim#session(a:d.session)
    let l:people = len(l:s.peers) + 1
    let l:text = 'co:' . (l:people > 1 ? l:people : '-')
    let l:state = l:s.state
    if l:state ==# 'direct'
        let l:path = ''
        let l:rtt = -1
        for l:peer in values(l:s.peers)
            if !empty(l:peer.path) && (empty(l:path) || l:peer.path !=# 'direct')
                let l:path = matchstr(l:peer.path, '^[a-z]*')
                let l:rtt = l:peer.rtt
            endif
        endfor
        let l:text .= empty(l:path) ? '' : ' ' . l:path
        let l:text .= l:rtt >= 0 && l:path !=# 'gate' ? ' ' . l:rtt . 'ms' : ''
    elseif l:state !=# 'alone' && !empty(l:state)
        let l:text .= ' ' . l:state
    endif
    if a:d.unsynced > 0
        let l:text .= ' ' . a:d.unsynced . ' unsynced'
    endif
    if a:d.unkept > 0
        let l:text .= ' ' . a:d.unkept . ' not on disk'
    endif
    if a:d.role ==# 'viewer'
        let l:text .= ' [read-only]'
    endif
    return l:text
endfunction

" The text for the status line of a window: nothing in it is evaluated.
function! covim#ui#statusline(buf) abort
    return get(s:state, a:buf, '') . s:status
endfunction

" Computes what the status line shows; redraws it when that is something new.
function! covim#ui#refresh() abort
    let l:state = {}
    let l:wait = covim#doc#waits() ? ' sync waits' : ''
    for l:d in covim#doc#all()
        let l:state[l:d.buf] = s:short(l:d) . l:wait
        call s:publish(l:d)
    endfor
    let l:status = ''
    let l:names = map(covim#knocks(), 'v:val.name')
    if !empty(l:names)
        " No % items, even where somebody evaluates this once more.
        let l:status = ' co:? ' . tr(l:names[0], '%', '_') . ' knocks'
    elseif empty(l:state)
        for l:s in covim#sessions()
            let l:status = 'co:- ' . l:s.state
        endfor
    endif
    if l:state != s:state || l:status !=# s:status
        let s:state = l:state
        let s:status = l:status
        if mode() !~# '^[cr!]'
            redrawstatus!
        endif
    endif
endfunction

" b:covim tells other plugins and scripts; it is a copy.
function! s:publish(d) abort
    if !bufexists(a:d.buf)
        return
    endif
    let l:s = covim#session(a:d.session)
    let l:state = a:d.state ==# 'live' ? l:s.state : a:d.state
    let l:new = {'key': a:d.key, 'path': a:d.path, 'role': a:d.role,
                \ 'state': l:state, 'stage': l:s.stage,
                \ 'unsynced': a:d.unsynced, 'session': a:d.session,
                \ 'peers': map(values(l:s.peers),
                \ '{"name": v:val.name, "path": v:val.path}')}
    if getbufvar(a:d.buf, 'covim', {}) != l:new
        call setbufvar(a:d.buf, 'covim', l:new)
    endif
endfunction

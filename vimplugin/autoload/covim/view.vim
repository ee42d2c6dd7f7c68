" covim#view: where everybody is: the own cursor is sent, the others' drawn.

let s:throttle_ms = 50
let s:timer = {}
let s:last = {}

function! covim#view#attach(buf) abort
    augroup covim_buffers
        execute 'autocmd! * <buffer=' . a:buf . '>'
        execute 'autocmd CursorMoved,CursorMovedI,BufEnter,InsertLeave'
                    \ . ' <buffer=' . a:buf . '>'
                    \ . ' call covim#view#send_soon(' . a:buf . ')'
        execute 'autocmd CursorMoved <buffer=' . a:buf
                    \ . '> call covim#undo#moved(' . a:buf . ')'
        execute 'autocmd CursorMoved <buffer=' . a:buf
                    \ . '> call covim#follow#moved()'
        execute 'autocmd InsertEnter <buffer=' . a:buf
                    \ . '> call covim#follow#stop()'
        execute 'autocmd BufEnter <buffer=' . a:buf
                    \ . '> call covim#undo#map()'
        execute 'autocmd BufLeave <buffer=' . a:buf . '>'
                    \ . ' call covim#view#send_soon(' . a:buf . ')'
        execute 'autocmd BufReadPost,FileChangedShellPost <buffer=' . a:buf
                    \ . '> call covim#doc#reloaded(' . a:buf . ')'
        execute 'autocmd BufUnload <buffer=' . a:buf . '>'
                    \ . ' call covim#buffer#unloading(' . a:buf . ')'
        execute 'autocmd BufWipeout <buffer=' . a:buf . '>'
                    \ . ' call covim#buffer#wiped(' . a:buf . ')'
    augroup END
    if bufnr('%') == a:buf
        call covim#undo#map()
    endif
endfunction

function! covim#view#detach(buf) abort
    if bufexists(a:buf)
        execute 'autocmd! covim_buffers * <buffer=' . a:buf . '>'
    endif
    if bufnr('%') == a:buf
        call covim#undo#unmap()
    endif
    call covim#blame#hide(a:buf)
    call covim#follow#over(a:buf)
    if bufloaded(a:buf)
        call covim#backend('draw', a:buf, [])
    endif
    silent! unlet s:last[a:buf]
endfunction

" The text has changed: where the cursor is in it may be another place, though
" its line and column are not, of which no event tells.
function! covim#view#text_moved(buf) abort
    if bufnr('%') == a:buf
        call covim#view#send_soon(a:buf)
    endif
endfunction

" At once when the last one was 50 ms ago, else when that has passed.
function! covim#view#send_soon(buf) abort
    if !has_key(s:timer, a:buf)
        let s:timer[a:buf] = timer_start(0, function('s:on_send', [a:buf]))
    endif
endfunction

function! s:on_send(buf, timer) abort
    if s:send(a:buf)
        " Nothing more for a while; what moves meanwhile is sent then.
        let s:timer[a:buf] = timer_start(s:throttle_ms,
                    \ function('s:on_send', [a:buf]))
    else
        silent! unlet s:timer[a:buf]
    endif
endfunction

" Returns whether there was something to say.
function! s:send(buf) abort
    let l:d = covim#doc#get(a:buf)
    if empty(l:d) || l:d.state !=# 'live'
        return 0
    endif
    call covim#doc#flush(a:buf)
    let l:ranges = []
    " Who follows somebody is nowhere himself.
    if bufnr('%') == a:buf && empty(covim#follow#whom())
        let l:head = [line('.'), col('.') - 1]
        let l:anchor = l:head
        if mode() =~# "^[vVsS\<C-v>\<C-s>]"
            let l:anchor = [line('v'), col('v') - 1]
        endif
        let l:ranges = [l:anchor + l:head]
    endif
    let l:mode = mode()[0]
    " In another text the same numbers are another place.
    let l:now = [l:d.epoch, l:d.rev, l:d.erev, l:ranges, l:mode]
    if get(s:last, a:buf, []) == l:now
        return 0
    endif
    let s:last[a:buf] = l:now
    call covim#rpc#notify('cursor', {'doc': l:d.doc, 'epoch': l:d.epoch,
                \ 'rev': l:d.rev, 'ranges': l:ranges, 'mode': l:mode})
    return 1
endfunction

" The others.  {{{1

function! covim#view#on_presence(msg) abort
    let l:d = covim#doc#by_id(a:msg)
    if empty(l:d) || type(get(a:msg, 'peers', 0)) != type([])
        return
    endif
    let l:d.peers = a:msg.peers
    if empty(l:d.queue)
        call covim#view#draw(l:d)
    else
        let l:d.peers_stale = 1
    endif
endfunction

function! covim#view#draw(d) abort
    let a:d.peers_stale = 0
    if !bufloaded(a:d.buf)
        return
    endif
    let l:list = []
    for l:peer in a:d.peers[: 63]
        let l:item = s:item(a:d.buf, l:peer)
        if !empty(l:item)
            call add(l:list, l:item)
        endif
    endfor
    let a:d.places = l:list
    call covim#backend('draw', a:d.buf, l:list)
    call covim#follow#drawn(a:d)
    call covim#ui#refresh_peers()
endfunction

" What to draw for one person, within the text that there is, or {}.
function! s:item(buf, peer) abort
    if type(a:peer) != type({}) || type(get(a:peer, 'ranges', 0)) != type([])
                \ || empty(a:peer.ranges)
        return {}
    endif
    let l:range = a:peer.ranges[-1]
    if type(l:range) != type([]) || len(l:range) != 4
                \ || len(filter(copy(l:range), 'type(v:val) == type(0)')) != 4
        return {}
    endif
    let [l:line, l:col] = s:clamp(a:buf, l:range[2], l:range[3])
    let l:from = s:clamp(a:buf, l:range[0], l:range[1])
    let l:id = covim#num(a:peer, 'peer', 0)
    return {'id': l:id > 0 ? l:id % 1000000000 : 1,
                \ 'name': covim#clean(covim#str(a:peer, 'name', '?'), 32),
                \ 'colour': ((covim#num(a:peer, 'colour', 1) - 1) % 8 + 8) % 8 + 1, 'line': l:line, 'col': l:col,
                \ 'from': l:from == [l:line, l:col] ? [] : l:from}
endfunction

function! s:clamp(buf, lnum, col) abort
    let l:lnum = max([1, a:lnum])
    let l:text = getbufline(a:buf, l:lnum)
    if empty(l:text)
        let l:lnum = get(get(getbufinfo(a:buf), 0, {}), 'linecount', 1)
        let l:text = getbufline(a:buf, l:lnum)
    endif
    return [l:lnum, max([0, min([a:col, len(get(l:text, 0, ''))])])]
endfunction

" covim#follow: to where somebody is, once or all the time.
"
" w:covim_follow of a window that follows: {buf, id, name, at}; `at` is where
" its cursor was put last.  Whoever moves it elsewhere ends that.

" Who is meant, in the session of document `d`: by name, or by the first four
" letters or more of a fingerprint; the only other one without a name.
function! s:whom(d, name) abort
    let l:peers = values(covim#session(a:d.session).peers)
    let l:names = join(sort(map(copy(l:peers), 'v:val.name')), ', ')
    if empty(l:peers)
        throw 'covim: nobody else is here'
    elseif !empty(a:name)
        call filter(l:peers, 'v:val.name ==# a:name || len(a:name) >= 4'
                    \ . ' && stridx(v:val.fingerprint, a:name) == 0')
    endif
    if len(l:peers) == 1
        return l:peers[0]
    elseif empty(a:name)
        throw 'covim: whom? ' . l:names
    elseif empty(l:peers)
        throw 'covim: ' . covim#clean(a:name, 32) . ' is not here, but '
                    \ . l:names
    endif
    throw 'covim: several of that name: give the beginning of the fingerprint: '
                \ . join(map(l:peers, 'v:val.fingerprint'), ', ')
endfunction

" The text that a command means: that of this buffer, or the only one.
function! s:text() abort
    let l:d = covim#doc#get(bufnr('%'))
    if empty(l:d)
        let l:all = filter(covim#doc#all(), 'v:val.state ==# "live"')
        if len(l:all) != 1
            throw empty(l:all) ? 'covim: no session'
                        \ : 'covim: several texts are shared: go to one first'
        endif
        let l:d = l:all[0]
    endif
    return l:d
endfunction

function! s:place(d, id) abort
    return get(filter(copy(a:d.places), 'v:val.id == a:id'), 0, {})
endfunction

" A window on the text, this one if it is.
function! s:show(buf) abort
    if bufnr('%') == a:buf
        return
    elseif bufwinid(a:buf) != -1
        call win_gotoid(bufwinid(a:buf))
    else
        execute 'sbuffer' a:buf
    endif
endfunction

" The cursor of this window to a place; what is far away comes to the middle.
function! s:go(place) abort
    let l:seen = a:place.line >= line('w0') && a:place.line <= line('w$')
    call cursor(a:place.line, a:place.col + 1)
    normal! zv
    if !l:seen
        normal! zz
    endif
endfunction

function! covim#follow#names() abort
    let l:d = covim#doc#get(bufnr('%'))
    return empty(l:d) ? []
                \ : sort(map(values(covim#session(l:d.session).peers),
                \ 'v:val.name'))
endfunction

" Once.
function! covim#follow#jump(name) abort
    let l:d = s:text()
    let l:peer = s:whom(l:d, a:name)
    let l:place = s:place(l:d, l:peer.id)
    if empty(l:place)
        throw 'covim: ' . l:peer.name . ' is not in this text now'
    endif
    call s:show(l:d.buf)
    normal! m'
    call s:go(l:place)
endfunction

" All the time, in this window, until the user moves or changes something.
function! covim#follow#start(name) abort
    let l:d = s:text()
    let l:peer = s:whom(l:d, a:name)
    call s:show(l:d.buf)
    normal! m'
    let w:covim_follow = {'buf': l:d.buf, 'id': l:peer.id, 'name': l:peer.name,
                \ 'at': s:here()}
    call covim#follow#step()
    call covim#view#send_soon(l:d.buf)
    call covim#ui#tell('covim: following ' . l:peer.name
                \ . '; move or type to end it')
    redrawstatus
endfunction

function! s:here() abort
    return [line('.'), col('.')]
endfunction

" The name of whom this window follows; empty: nobody.
function! covim#follow#whom() abort
    let l:f = get(w:, 'covim_follow', {})
    return empty(l:f) || l:f.buf != bufnr('%') ? '' : l:f.name
endfunction

function! covim#follow#statusline() abort
    let l:name = tr(covim#follow#whom(), '%', '_')
    return empty(l:name) ? '' : ' follows ' . l:name
endfunction

" Returns whether it followed anybody.
function! covim#follow#stop() abort
    let l:name = covim#follow#whom()
    unlet! w:covim_follow
    if empty(l:name)
        return 0
    endif
    call covim#view#send_soon(bufnr('%'))
    call covim#ui#say('info', 'covim: no longer following ' . l:name)
    redrawstatus
    return 1
endfunction

" What ends it.  {{{1

" The cursor of this window is elsewhere.
function! covim#follow#moved() abort
    if exists('w:covim_follow') && (w:covim_follow.at != s:here()
                \ || w:covim_follow.buf != bufnr('%'))
        call covim#follow#stop()
    endif
endfunction

" The user has changed the text.
function! covim#follow#typed(buf) abort
    if bufnr('%') == a:buf
        call covim#follow#stop()
    endif
endfunction

" The windows on a buffer that follow somebody, one or anybody (0).
function! s:windows(buf, id) abort
    return filter(win_findbuf(a:buf),
                \ '!empty(getwinvar(v:val, "covim_follow", {}))'
                \ . ' && (a:id == 0 || getwinvar(v:val, "covim_follow").id == a:id)')
endfunction

" Somebody has gone.
function! covim#follow#left(session, id) abort
    for l:d in covim#doc#all()
        if l:d.session == a:session
            for l:win in s:windows(l:d.buf, a:id)
                call win_execute(l:win, 'call covim#follow#stop()')
            endfor
        endif
    endfor
endfunction

" The text is not shared any more.
function! covim#follow#over(buf) abort
    for l:win in s:windows(a:buf, 0)
        call win_execute(l:win, 'unlet! w:covim_follow')
    endfor
endfunction

" What goes on with it.  {{{1

" The others are where d.places says.  In the middle of a command the next
" movement is waited for.
function! covim#follow#drawn(d) abort
    for l:win in s:windows(a:d.buf, 0)
        if l:win != win_getid() || covim#backend('idle')
            call win_execute(l:win, 'call covim#follow#step()')
        endif
    endfor
endfunction

function! covim#follow#step() abort
    let l:f = w:covim_follow
    let l:place = s:place(covim#doc#get(l:f.buf), l:f.id)
    if !empty(l:place)
        call s:go(l:place)
        let l:f.at = s:here()
    endif
endfunction

" Text of others has moved the cursors with it.
function! covim#follow#settled(buf) abort
    for l:win in s:windows(a:buf, 0)
        call win_execute(l:win, 'let w:covim_follow.at = [line("."), col(".")]')
    endfor
endfunction

" In the window of :CoVim peers.  {{{1

function! covim#follow#peers() abort
    call covim#ui#window('peers', covim#ui#peer_lines(), 1)
    if bufname('%') ==# 'covim-peers'
        nnoremap <silent> <buffer> <nowait> <CR> :<C-u>call <SID>listed('jump')<CR>
        nnoremap <silent> <buffer> <nowait> f :<C-u>call <SID>listed('start')<CR>
    endif
endfunction

" To whom the cursor is at.
function! s:listed(what) abort
    let l:row = get(covim#ui#peer_rows(), line('.') - 1, {})
    if !has_key(l:row, 'fingerprint')
        return
    endif
    try
        for l:d in covim#doc#all()
            if l:d.session == l:row.session
                call s:show(l:d.buf)
                call covim#follow#{a:what}(l:row.fingerprint)
                return
            endif
        endfor
    catch /^covim:/
        call covim#ui#fail(v:exception)
    endtry
endfunction

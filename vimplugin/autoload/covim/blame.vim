" covim#blame: who wrote which line, as text behind it; and taking back all
" that one of them did.  The agent knows; here is what is shown, and when.

" Per buffer whose lines show their authors:
"   timer   runs, and asks when it ends;  asked: an answer is on its way
"   lo, hi  the lines that were asked for last
"   items   [lnum, text, colour] of those that are drawn
"   stale   the text has changed since
let s:shown = {}
let s:wait_ms = 200
let s:margin = 30
let s:lines_max = 400
let s:chunk = 5000
let s:names_max = 2

function! covim#blame#shown(buf) abort
    return has_key(s:shown, a:buf)
endfunction

function! covim#blame#items(buf) abort
    return get(get(s:shown, a:buf, {}), 'items', [])
endfunction

" On and off.  {{{1

function! covim#blame#toggle() abort
    let l:d = s:current()
    if covim#blame#shown(l:d.buf)
        call covim#blame#hide(l:d.buf)
        return
    endif
    if !covim#backend('can_blame')
        throw 'covim: this Vim cannot show text behind lines;'
                    \ . ' :CoVim blame! tells who wrote this one'
    endif
    let s:shown[l:d.buf] = {'timer': -1, 'asked': 0, 'lo': 0, 'hi': 0,
                \ 'items': [], 'stale': 1}
    augroup covim_blame
        execute 'autocmd CursorMoved,CursorMovedI,BufWinEnter <buffer='
                    \ . l:d.buf . '> call covim#blame#look(' . l:d.buf . ')'
        if exists('##WinScrolled') && len(s:shown) == 1
            autocmd WinScrolled * call covim#blame#scrolled()
        endif
    augroup END
    call s:ask_soon(l:d.buf, 0)
endfunction

function! covim#blame#hide(buf) abort
    if !covim#blame#shown(a:buf)
        return
    endif
    call timer_stop(remove(s:shown, a:buf).timer)
    if bufexists(a:buf)
        execute 'autocmd! covim_blame * <buffer=' . a:buf . '>'
    endif
    if empty(s:shown)
        autocmd! covim_blame
    endif
    if bufloaded(a:buf)
        call covim#backend('blame', a:buf, [])
    endif
endfunction

" What changes what is to be seen.  {{{1

" The text is another one, by whomever.
function! covim#blame#changed(buf) abort
    if has_key(s:shown, a:buf)
        let s:shown[a:buf].stale = 1
        call s:ask_soon(a:buf, s:wait_ms)
    endif
endfunction

" Other lines are in sight.
function! covim#blame#look(buf) abort
    if !has_key(s:shown, a:buf)
        return
    endif
    let l:b = s:shown[a:buf]
    let [l:lo, l:hi] = s:in_sight(a:buf, 0)
    if l:lo < l:b.lo || l:hi > l:b.hi
        call s:ask_soon(a:buf, s:wait_ms)
    endif
endfunction

function! covim#blame#scrolled() abort
    for l:buf in keys(s:shown)
        call covim#blame#look(str2nr(l:buf))
    endfor
endfunction

" The lines in the windows of a buffer and `margin` around them, at most
" s:lines_max.
function! s:in_sight(buf, margin) abort
    let [l:lo, l:hi] = [0, 0]
    let l:here = win_getid()
    for l:win in filter([l:here], 'winbufnr(v:val) == a:buf')
                \ + filter(win_findbuf(a:buf), 'v:val != l:here')
        let l:info = get(getwininfo(l:win), 0, {})
        if empty(l:info)
            continue
        endif
        let l:from = max([1, l:info.topline - a:margin])
        let l:to = l:info.botline + a:margin
        if l:lo == 0
            let [l:lo, l:hi] = [l:from, l:to]
        elseif max([l:hi, l:to]) - min([l:lo, l:from]) < s:lines_max
            let [l:lo, l:hi] = [min([l:lo, l:from]), max([l:hi, l:to])]
        endif
    endfor
    return [l:lo, min([l:hi, l:lo + s:lines_max - 1])]
endfunction

" Asking, drawing.  {{{1

" Once in s:wait_ms, and one question at a time.
function! s:ask_soon(buf, ms) abort
    let l:b = s:shown[a:buf]
    if l:b.timer == -1
        let l:b.timer = timer_start(a:ms, function('s:on_ask', [a:buf]))
    endif
endfunction

function! s:on_ask(buf, timer) abort
    if !has_key(s:shown, a:buf)
        return
    endif
    let l:b = s:shown[a:buf]
    let l:b.timer = -1
    let l:d = covim#doc#get(a:buf)
    if empty(l:d) || l:d.state !=# 'live' || !bufloaded(a:buf)
        return
    endif
    if l:b.asked
        " The answer asks again.
        let l:b.again = 1
        return
    endif
    call covim#doc#flush(a:buf)
    let [l:lo, l:hi] = s:in_sight(a:buf, s:margin)
    if l:lo == 0
        return
    endif
    let [l:b.asked, l:b.again, l:b.lo, l:b.hi] = [1, 0, l:lo, l:hi]
    call covim#rpc#request('authors', {'doc': l:d.doc, 'epoch': l:d.epoch,
                \ 'lo': l:lo, 'hi': l:hi}, function('s:on_authors', [l:b, l:d]))
endfunction

function! s:on_authors(b, d, error, result) abort
    let a:b.asked = 0
    if get(s:shown, a:d.buf, {}) isnot a:b || !bufloaded(a:d.buf)
        return
    endif
    if !empty(a:error)
        return
    endif
    if a:d.dirty || !empty(a:d.queue)
                \ || covim#num(a:result, 'erev', -1) != a:d.erev
        " Not of the text that is here now.
        call s:ask_soon(a:d.buf, s:wait_ms)
        return
    endif
    let l:people = s:people(a:result)
    let l:items = []
    let l:lnum = covim#num(a:result, 'lo', 1)
    let l:last = get(get(getbufinfo(a:d.buf), 0, {}), 'linecount', 1)
    for l:line in s:list(a:result, 'lines')
        let l:item = l:lnum > l:last ? [] : s:item(l:line, l:people)
        if !empty(l:item)
            call add(l:items, [l:lnum] + l:item)
        endif
        let l:lnum += 1
    endfor
    if a:b.stale || l:items != a:b.items
        let [a:b.items, a:b.stale] = [l:items, 0]
        call covim#backend('blame', a:d.buf, l:items)
    endif
    if a:b.again
        call s:ask_soon(a:d.buf, s:wait_ms)
    endif
endfunction

function! s:list(msg, key) abort
    let l:list = get(a:msg, a:key, [])
    return type(l:list) == type([]) ? l:list : []
endfunction

let s:unknown = {'name': 'unknown', 'colour': 0, 'fingerprint': '', 'you': 0}

" People as they may be shown; the first is unknown.
function! s:people(result) abort
    let l:people = [s:unknown]
    for l:p in s:list(a:result, 'people')
        if type(l:p) != type({})
            call add(l:people, s:unknown)
            continue
        endif
        let l:print = covim#clean(covim#str(l:p, 'fingerprint', ''), 40)
        let l:name = covim#clean(covim#str(l:p, 'name', ''), 32)
        let l:you = covim#bool(l:p, 'you', 0)
        call add(l:people, {'fingerprint': l:print, 'you': l:you,
                    \ 'name': l:you ? 'you' : empty(l:name)
                    \ ? '[' . strpart(l:print, 0, 5) . ']' : l:name,
                    \ 'called': l:name,
                    \ 'colour': ((covim#num(l:p, 'colour', 1) - 1) % 8 + 8) % 8 + 1})
    endfor
    return l:people
endfunction

" Bytes of each person in a line: {number: bytes}.
function! s:shares(line, people) abort
    let l:shares = {}
    if type(a:line) != type([])
        return l:shares
    endif
    let l:i = -2
    while l:i + 3 < len(a:line)
        let l:i += 2
        let [l:bytes, l:who] = a:line[l:i : l:i + 1]
        if type(l:bytes) == type(0) && type(l:who) == type(0)
            let l:who = l:who > 0 && l:who < len(a:people) ? l:who : 0
            let l:shares[l:who] = get(l:shares, l:who, 0) + l:bytes
        endif
    endwhile
    return l:shares
endfunction

function! s:by_share(shares, a, b) abort
    let l:more = a:shares[a:b] - a:shares[a:a]
    return l:more != 0 ? l:more : a:a - a:b
endfunction

" [text, colour] for one line, or [] when there is nothing in it.
function! s:item(line, people) abort
    let l:shares = s:shares(a:line, a:people)
    if empty(l:shares)
        return []
    endif
    let l:who = sort(keys(l:shares), function('s:by_share', [l:shares]))
    let l:names = map(l:who[: s:names_max - 1], 'a:people[v:val].name')
    let l:more = len(l:who) - len(l:names)
    return [join(l:names, ', ') . (l:more > 0 ? ' +' . l:more : ''),
                \ a:people[l:who[0]].colour]
endfunction

" Commands.  {{{1

function! s:current() abort
    let l:d = covim#doc#get(bufnr('%'))
    if empty(l:d)
        throw 'covim: this buffer is not shared'
    elseif l:d.state !=# 'live'
        throw 'covim: nobody knows until the agent is back'
    endif
    return l:d
endfunction

function! s:plural(count, what) abort
    return a:count . ' ' . a:what . (a:count == 1 ? '' : 's')
endfunction

" Who wrote lines `first` to `last`, in one line.
function! covim#blame#tell(first, last) abort
    let l:d = s:current()
    let l:lines = {}
    let l:bytes = {}
    let l:shown = {}
    let l:lo = a:first
    while l:lo <= a:last
        let l:hi = min([a:last, l:lo + s:chunk - 1])
        let l:result = covim#doc#ask(l:d, 'authors', {'lo': l:lo, 'hi': l:hi}, 1)
        let l:people = s:people(l:result)
        for l:line in s:list(l:result, 'lines')
            for [l:who, l:n] in items(s:shares(l:line, l:people))
                let l:p = l:people[l:who]
                let l:key = l:p.name . ' ' . l:p.fingerprint
                let l:shown[l:key] = l:p.name . (empty(l:p.fingerprint)
                            \ || l:p.you ? '' : ' [' . l:p.fingerprint[:4] . ']')
                let l:lines[l:key] = get(l:lines, l:key, 0) + 1
                let l:bytes[l:key] = get(l:bytes, l:key, 0) + l:n
            endfor
        endfor
        let l:lo = l:hi + 1
    endwhile
    if empty(l:lines)
        call covim#ui#tell('covim: nobody wrote there')
        return
    endif
    let l:parts = map(sort(keys(l:bytes),
                \ {a, b -> l:bytes[b] - l:bytes[a]}),
                \ 'l:shown[v:val] . " " . s:plural(l:lines[v:val], "line")'
                \ . ' . ", " . s:plural(l:bytes[v:val], "byte")')
    call covim#ui#tell('covim: ' . join(l:parts, '; '))
endfunction

" Names that :CoVim revert can complete: those of others who wrote here, and
" with the fingerprint where a name is missing or not the only one.
function! covim#blame#names() abort
    let l:names = []
    try
        let l:people = s:people(covim#doc#ask(s:current(), 'authors', {}, 0))
    catch /^covim:/
        return []
    endtry
    call filter(l:people, '!v:val.you && !empty(v:val.fingerprint)')
    for l:p in l:people
        let l:same = filter(copy(l:people), 'v:val.called ==# l:p.called')
        call add(l:names, len(l:same) == 1 && !empty(l:p.called) ? l:p.called
                    \ : l:p.fingerprint)
    endfor
    return sort(l:names)
endfunction

let s:doubt = ' deletions that were not seen from here are not known, and stay'

" Takes back what somebody did, once the user has seen what that means.
function! covim#blame#revert(name, sure) abort
    let l:d = s:current()
    if empty(a:name)
        throw 'covim: revert whom? (:help :CoVim-revert)'
    elseif l:d.role ==# 'viewer'
        throw 'covim: you may read this text, not change it'
    endif
    if !a:sure
        let l:would = covim#doc#ask(l:d, 'revert', {'name': a:name,
                    \ 'dry': v:true}, 1)
        if confirm('covim: revert ' . s:summary(l:would, 1)
                    \ . '? Text of others stays; u undoes it.'
                    \ . (covim#bool(l:would, 'whole', 1) ? '' : s:doubt),
                    \ "&Revert\n&Cancel", 2) != 1
            call covim#ui#tell('covim: nothing was changed')
            return
        endif
    endif
    let l:done = covim#doc#ask(l:d, 'revert', {'name': a:name}, 1)
    let l:cursor = s:list(l:done, 'cursor')
    if len(l:cursor) == 2 && type(l:cursor[0]) == type(0)
                \ && type(l:cursor[1]) == type(0)
        call cursor(l:cursor[0], l:cursor[1] + 1)
        normal! zv
    endif
    call covim#ui#tell('covim: reverted ' . s:summary(l:done, 0))
    if a:sure && !covim#bool(l:done, 'whole', 1)
        call covim#ui#say('warn', 'covim:' . s:doubt)
    endif
    if !covim#bool(l:done, 'undoable', 1)
        call covim#ui#say('warn', 'covim: that was too large to be undone')
    endif
endfunction

" E.g. `42 insertions, 3 deletions by Ann`.
function! s:summary(msg, long) abort
    let l:parts = []
    for [l:key, l:what] in [['removed', 'insertion'], ['restored', 'deletion']]
        let l:count = covim#num(a:msg, l:key, 0)
        if l:count > 0
            call add(l:parts, s:plural(l:count, l:what) . (a:long ? ' ('
                        \ . s:plural(covim#num(a:msg, l:key . '_bytes', 0), 'byte')
                        \ . ')' : ''))
        endif
    endfor
    let l:name = covim#clean(covim#str(a:msg, 'name', ''), 32)
    let l:print = covim#clean(covim#str(a:msg, 'fingerprint', ''), 40)
    return join(l:parts, ', ') . ' by ' . l:name . (empty(l:name) || a:long
                \ ? ' [' . (a:long ? l:print : strpart(l:print, 0, 5)) . ']' : '')
endfunction

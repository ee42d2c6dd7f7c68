" covim#doc: shared buffers: which lines changed, and the edits of others
" applied when that is safe.  The agent finds the differences and rebases.
"
" A document is a dictionary:
"   buf, doc, epoch, session, key, path, role, mine
"   state     'opening' (asked the agent), 'live', or 'detached' (no agent)
"   rev       edits of the agent that were applied;  acked: what it knows
"   erev      changes that were sent;  kept, shared: what became of them
"   n, lo, tail, dirty   the lines since the last change that was sent
"   queue     edits that wait for a safe moment;  since: when that began
"   eol       whether the text ends with LF, as the agent knows it

let s:max = 2147483647
let s:docs = {}
let s:by_id = {}
let s:idle_ms = 500
let s:ack_ms = 50
let s:verify_s = 2.0
let s:wait_ms = 20
let s:remind_s = 0.5
let s:wait_timer = -1
let s:tick_timer = -1
let s:stats = {'applied': 0, 'dropped': 0, 'sent': 0, 'queued': 0,
            \ 'refused': 0, 'odd': 0}

function! covim#doc#stats() abort
    return s:stats
endfunction

function! covim#doc#all() abort
    return values(s:docs)
endfunction

function! covim#doc#get(buf) abort
    return get(s:docs, a:buf, {})
endfunction

function! covim#doc#by_id(msg) abort
    let l:d = get(s:by_id, covim#num(a:msg, 'doc', -1), {})
    return !empty(l:d) && covim#num(a:msg, 'epoch', -1) == l:d.epoch ? l:d : {}
endfunction

function! covim#doc#waits() abort
    for l:d in values(s:docs)
        if !empty(l:d.queue) && reltimefloat(reltime(l:d.since)) > 10.0
            return 1
        endif
    endfor
    return 0
endfunction

" Documents come and go.  {{{1

" Begins to watch a buffer; the counters start with the text as it is now.
function! covim#doc#add(buf, fields) abort
    let l:d = extend({'buf': a:buf, 'doc': -1, 'epoch': -1, 'session': -1,
                \ 'key': '', 'path': '', 'role': 'editor', 'mine': 0,
                \ 'state': 'opening', 'applying': 0, 'peers': [], 'places': [],
                \ 'peers_stale': 0, 'unsynced': 0, 'unsynced_before': 0,
                \ 'unkept': 0, 'unkept_before': 0, 'before': [0, 0], 'befores': {}, 'since': reltime(),
                \ 'eol': covim#text#eol(a:buf), 'joined': 0, 'moved': 0}, a:fields)
    let l:d.show = covim#clean(l:d.path, 40)
    let s:docs[a:buf] = l:d
    call s:watch(l:d)
    call s:reset(l:d)
    call covim#view#attach(a:buf)
    " Text from other people is no place for settings, and a shared buffer
    " that is unloaded could not be kept in step.
    call setbufvar(a:buf, '&modeline', 0)
    if getbufvar(a:buf, '&bufhidden') !=# 'hide'
        let l:d.bufhidden = getbufvar(a:buf, '&bufhidden')
        call setbufvar(a:buf, '&bufhidden', 'hide')
    endif
    return l:d
endfunction

function! s:reset(d) abort
    let a:d.rev = 0
    let a:d.acked = 0
    let a:d.erev = 0
    let a:d.kept = 0
    let a:d.shared = 0
    let a:d.queue = []
    let a:d.changed = reltime()
    let a:d.verified = 1
    call s:sync(a:d)
endfunction

" From here on, changes count against the text as it is now.
function! s:sync(d) abort
    let a:d.n = covim#text#line_count(a:d.buf)
    let a:d.lo = s:max
    let a:d.tail = a:d.n
    let a:d.dirty = 0
    let a:d.replaced = 0
endfunction

" The agent knows the document: `fields` holds doc, epoch, session and so on.
function! covim#doc#live(d, fields) abort
    call extend(a:d, a:fields)
    let a:d.state = 'live'
    let s:by_id[a:d.doc] = a:d
    call s:set_role(a:d, a:d.role)
    call covim#view#send_soon(a:d.buf)
    call covim#blame#changed(a:d.buf)
    if a:d.dirty
        call covim#doc#flush(a:d.buf)
    endif
    call s:tick_start()
endfunction

function! s:set_role(d, role) abort
    let a:d.role = a:role
    if a:role ==# 'viewer'
        call setbufvar(a:d.buf, '&modifiable', 0)
        let a:d.locked = 1
    elseif get(a:d, 'locked', 0)
        call setbufvar(a:d.buf, '&modifiable', 1)
        let a:d.locked = 0
    endif
endfunction

" Stops watching.  The text stays as it is, and becomes an ordinary buffer.
function! covim#doc#remove(d) abort
    if !has_key(s:docs, a:d.buf)
        return
    endif
    call remove(s:docs, a:d.buf)
    silent! unlet s:by_id[a:d.doc]
    let a:d.state = 'gone'
    call covim#backend('detach', a:d.buf)
    if bufexists(a:d.buf)
        call covim#view#detach(a:d.buf)
        if get(a:d, 'locked', 0)
            call setbufvar(a:d.buf, '&modifiable', 1)
        endif
        if has_key(a:d, 'bufhidden') && !a:d.joined
            call setbufvar(a:d.buf, '&bufhidden', a:d.bufhidden)
        endif
        call setbufvar(a:d.buf, 'covim', {})
    endif
endfunction

" The text is what a new epoch starts with.
function! covim#doc#restart(d) abort
    call s:reset(a:d)
endfunction

" The buffer was unloaded and holds the same text again.
function! covim#doc#reattach(buf) abort
    call s:watch(s:docs[a:buf])
endfunction

" Starts to listen; what was recorded for nobody until now is not ours.
function! s:watch(d) abort
    call covim#backend('attach', a:d.buf)
    let a:d.applying = 1
    call covim#backend('flush', a:d.buf)
    let a:d.applying = 0
    call s:sync(a:d)
endfunction

" The agent is gone.  Returns how many documents wait for the next one.
function! covim#doc#detach() abort
    for l:d in values(s:docs)
        if l:d.state ==# 'live'
            let l:d.state = 'detached'
            " The number means nothing to the next agent.
            let l:d.session = -1000 - l:d.buf
        endif
        let l:d.queue = []
    endfor
    let s:by_id = {}
    return len(filter(values(s:docs), 'v:val.state ==# "detached"'))
endfunction

" A new agent is there: each buffer goes on from the text that it has.
function! covim#doc#resume() abort
    for l:d in values(s:docs)
        if l:d.state ==# 'detached'
            call covim#doc#resume_one(l:d)
        endif
    endfor
endfunction

function! covim#doc#resume_one(d) abort
    call covim#backend('flush', a:d.buf)
    call s:repair(a:d, 1, getbufline(a:d.buf, 1, '$'))
    let l:params = covim#text#snapshot(a:d.buf)
    let l:params.key = a:d.key
    let l:params.path = a:d.path
    call s:reset(a:d)
    call covim#rpc#request('resume', l:params,
                \ function('s:on_resumed', [a:d]))
endfunction

function! s:on_resumed(d, error, result) abort
    if a:d.state !=# 'detached' || get(a:error, 'ended', 0)
        return
    endif
    if empty(a:error)
        call covim#doc#live(a:d, {'doc': a:result.doc,
                    \ 'epoch': a:result.epoch, 'session': a:result.session,
                    \ 'role': get(a:result, 'role', a:d.role)})
        call covim#session(a:d.session, {'key': a:d.key, 'buf': a:d.buf})
        call covim#ui#refresh()
        return
    endif
    let l:code = get(a:error, 'code', 0)
    if l:code == -32005
        " The agent that died may still hold its lock for a moment.
        call timer_start(1000, function('s:on_resume_again', [a:d]))
    elseif l:code == -32004 && !a:d.mine
        " Nothing is stored: ask again to be let in; the text comes by `doc`.
        let a:d.state = 'opening'
        call covim#join(a:d.key, 0, a:d.buf)
    else
        call covim#ui#error('cannot go on with ' . a:d.path, a:error)
        call covim#doc#remove(a:d)
        call covim#ui#refresh()
    endif
endfunction

function! s:on_resume_again(d, timer) abort
    if a:d.state ==# 'detached' && covim#rpc#state() ==# 'ready'
        call covim#doc#resume_one(a:d)
    endif
endfunction

" Changes of the user.  {{{1

" The back end reports lines: `lnum` first, `end` below the last, `added` by
" how many there are more now.  Composed in order this is exact: lines above
" `lo` and the last `tail` lines are as they were when `n` was last taken.
function! covim#doc#changed(buf, changes) abort
    let l:d = get(s:docs, a:buf, {})
    if empty(l:d) || l:d.applying
        return
    endif
    for l:c in a:changes
        if l:c.lnum < l:d.lo
            let l:d.lo = l:c.lnum
        endif
        let l:tail = l:d.n - l:c.end + 1
        if l:tail < l:d.tail
            let l:d.tail = l:tail
        endif
        if l:c.added
            let l:d.n += l:c.added
            if l:d.n < 1
                " All lines deleted: one empty line stays, reported as none.
                let [l:d.n, l:d.lo, l:d.tail] = [1, 1, 0]
            endif
            call covim#backend('lines_moved', a:buf, l:c.end, l:c.added)
        endif
    endfor
    if !l:d.dirty
        let l:d.dirty = 1
        call timer_start(0, function('s:on_dirty', [a:buf]))
    endif
endfunction

function! s:on_dirty(buf, timer) abort
    call covim#doc#flush(a:buf)
    call s:tick_start()
endfunction

" The buffer was read again from its file: no listener told what changed.
function! covim#doc#reloaded(buf) abort
    let l:d = get(s:docs, a:buf, {})
    if empty(l:d)
        return
    endif
    call s:watch(l:d)
    call setbufvar(a:buf, '&modeline', 0)
    call setbufvar(a:buf, '&bufhidden', 'hide')
    call s:set_role(l:d, l:d.role)
    call covim#doc#replaced(a:buf)
    if l:d.rev > 0
        call covim#ui#say('warn', 'covim: ' . l:d.show . ' was read again:'
                    \ . ' what it lacks is deleted for everybody')
    endif
endfunction

" Any line may be another one: all of them are sent.
function! covim#doc#replaced(buf) abort
    let l:d = get(s:docs, a:buf, {})
    if !empty(l:d) && !l:d.applying
        let [l:d.replaced, l:d.dirty] = [1, 1]
        call timer_start(0, function('s:on_dirty', [a:buf]))
    endif
endfunction

" Sends what changed, if anything did.  Returns whether it was sent.
function! covim#doc#flush(buf) abort
    let l:d = get(s:docs, a:buf, {})
    if empty(l:d) || !bufloaded(a:buf)
        return 0
    endif
    call covim#backend('flush', a:buf)
    let l:here = a:buf == bufnr('%')
    if !l:d.dirty || l:d.state !=# 'live'
        if l:here
            call covim#undo#note(l:d)
        endif
        return 0
    endif
    if l:d.replaced
        let [l:d.replaced, l:d.n] = [0, covim#text#line_count(a:buf)]
        let [l:d.lo, l:d.tail] = [1, 0]
    endif
    if l:d.n != covim#text#line_count(a:buf)
        " Never seen; if it comes, everything is sent rather than guessed.
        let s:stats.odd += 1
        let l:d.n = covim#text#line_count(a:buf)
        let [l:d.lo, l:d.tail] = [1, 0]
    endif
    let l:d.tail = max([0, min([l:d.tail, l:d.n - l:d.lo + 1])])
    let l:last = l:d.n - l:d.tail
    let l:lines = l:last < l:d.lo ? [] : getbufline(a:buf, l:d.lo, l:last)
    let l:lines = s:repair(l:d, l:d.lo, l:lines)
    let l:msg = {'doc': l:d.doc, 'epoch': l:d.epoch, 'rev': l:d.rev,
                \ 'lo': l:d.lo, 'tail': l:d.tail, 'lines': l:lines}
    if l:here
        let l:msg.cursor = [line('.'), col('.') - 1]
        let l:msg.group = covim#undo#group(l:d)
    endif
    let l:eol = covim#text#eol(a:buf)
    if l:eol != l:d.eol
        let l:d.eol = l:eol
        let l:msg.eol = l:eol ? v:true : v:false
    endif
    let l:d.lo = s:max
    let l:d.tail = l:d.n
    let l:d.dirty = 0
    let l:d.erev += 1
    let l:d.acked = l:d.rev
    let l:d.changed = reltime()
    let l:d.verified = 0
    let s:stats.sent += 1
    if l:here
        call covim#undo#note(l:d)
    endif
    call covim#rpc#notify('change', l:msg)
    call covim#blame#changed(a:buf)
    call covim#follow#typed(a:buf)
    call covim#view#text_moved(a:buf)
    if !empty(l:d.queue)
        " All of them rested on less than this change.
        call s:purge(l:d)
    endif
    return 1
endfunction

" 'eol' and its relatives changed.
function! covim#doc#eol_changed(buf) abort
    let l:d = get(s:docs, a:buf, {})
    if !empty(l:d) && !l:d.applying && covim#text#eol(a:buf) != l:d.eol && !l:d.dirty
        let [l:d.lo, l:d.dirty] = [l:d.n + 1, 1]
        let l:d.tail = 0
        call timer_start(0, function('s:on_dirty', [a:buf]))
    endif
endfunction

" Bytes that cannot be sent as they are become U+FFFD, in the buffer too: it
" must hold what the others see.  Returns the lines to send.
function! s:repair(d, first, lines) abort
    if covim#text#is_sound(a:lines)
        return a:lines
    endif
    let l:d = a:d
    let l:applying = l:d.applying
    let l:d.applying = 1
    let l:result = []
    let l:lnum = a:first
    let l:bad = 0
    for l:line in a:lines
        let l:good = l:line
        if !covim#text#is_sound([l:line])
            let l:good = covim#text#mend(l:line)
            call setbufline(l:d.buf, l:lnum, l:good)
            let l:bad += 1
        endif
        call add(l:result, l:good)
        let l:lnum += 1
    endfor
    call covim#backend('flush', l:d.buf)
    let l:d.applying = l:applying
    if l:bad
        call covim#ui#say('warn', 'covim: characters that are not text'
                    \ . ' were replaced in ' . l:bad . ' line(s)')
    endif
    return l:result
endfunction

" Edits of others.  {{{1

function! covim#doc#on_edit(msg) abort
    let l:d = covim#doc#by_id(a:msg)
    if !empty(l:d)
        call s:enqueue(l:d, 'edit', a:msg)
    endif
endfunction

function! covim#doc#on_resync(msg) abort
    let l:d = get(s:by_id, covim#num(a:msg, 'doc', -1), {})
    if !empty(l:d)
        call s:enqueue(l:d, 'resync', a:msg)
    endif
endfunction

function! covim#doc#on_eol(msg) abort
    let l:d = covim#doc#by_id(a:msg)
    if !empty(l:d)
        call s:enqueue(l:d, 'eol', a:msg)
    endif
endfunction

function! covim#doc#on_role(msg) abort
    let l:d = get(s:by_id, covim#num(a:msg, 'doc', -1), {})
    if !empty(l:d)
        call s:set_role(l:d, covim#str(a:msg, 'role', 'viewer'))
    endif
endfunction

function! covim#doc#on_kept(msg) abort
    let l:d = covim#doc#by_id(a:msg)
    if !empty(l:d)
        let l:d.kept = covim#num(a:msg, 'erev', 0)
        let l:d.shared = covim#num(a:msg, 'shared', 0)
    endif
endfunction

" One buffer may be changed now: the user waits for it.  -1: none.
let s:forced = -1

function! covim#doc#force(buf) abort
    let s:forced = a:buf
    if a:buf != -1
        let s:last_edit = {}
        call covim#doc#drain()
    endif
endfunction

" The topmost of the edits that were applied since, whether its range begins
" and ends at the end of a line, and whether all were inside of one line.
let s:last_edit = {}

function! covim#doc#last_edit() abort
    return s:last_edit
endfunction

" An edit, as of covim#apply#shift(), is about to replace `old`.
function! covim#doc#note_edit(d, old, edit) abort
    if a:d.buf != s:forced
        return
    endif
    let l:e = a:edit
    let l:inside = l:e.l1 == l:e.l2 && l:e.el == l:e.l1
                \ && get(s:last_edit, 'l1', l:e.l1) == l:e.l1
                \ && get(s:last_edit, 'inside', 1)
    if get(s:last_edit, 'l1', s:max) >= l:e.l1
        let s:last_edit = extend({'ends': [l:e.c1 == len(a:old[0]),
                    \ l:e.c2 == len(a:old[-1])]}, l:e)
    endif
    let s:last_edit.inside = l:inside
endfunction

" Without an edit that comes before the answer.
let s:answer_s = 2.0

" Asks the agent about a document and waits for the answer, a few
" milliseconds.  With `force`, what comes before the answer is applied, so that
" the next key finds the text as it is afterwards.  Throws what is wrong.
function! covim#doc#ask(d, method, params, force) abort
    call covim#doc#flush(a:d.buf)
    let l:answer = {}
    let l:start = reltime()
    if a:force
        call covim#doc#force(a:d.buf)
    endif
    try
        call covim#rpc#request(a:method, extend({'doc': a:d.doc,
                    \ 'epoch': a:d.epoch}, a:params),
                    \ function('s:on_answer', [l:answer]))
        let l:applied = s:stats.applied
        while empty(l:answer) && reltimefloat(reltime(l:start)) < s:answer_s
            sleep 1m
            if s:stats.applied != l:applied
                let [l:applied, l:start] = [s:stats.applied, reltime()]
            endif
        endwhile
    finally
        if a:force
            call covim#doc#force(-1)
        endif
    endtry
    if empty(l:answer)
        throw 'covim: the agent does not answer'
    elseif !empty(l:answer.error)
        throw 'covim: ' . covim#clean(get(l:answer.error, 'message', ''), 200)
                    \ . s:hint(l:answer.error)
    endif
    return l:answer.result
endfunction

function! s:on_answer(answer, error, result) abort
    call extend(a:answer, {'error': a:error, 'result': a:result})
endfunction

function! s:hint(error) abort
    let l:data = get(a:error, 'data', {})
    let l:hint = type(l:data) == type({}) ? covim#str(l:data, 'hint', '') : ''
    return empty(l:hint) ? '' : ' (' . covim#clean(l:hint, 200) . ')'
endfunction

function! s:safe(buf) abort
    return a:buf == s:forced || covim#backend('safe', a:buf)
endfunction

function! s:enqueue(d, kind, msg) abort
    call s:tick_start()
    if a:kind ==# 'edit' && covim#num(a:msg, 'erev', -1) != a:d.erev
        let s:stats.dropped += 1
        return
    endif
    if empty(a:d.queue) && s:safe(a:d.buf)
        call s:take(a:d, a:kind, a:msg)
        return
    endif
    if empty(a:d.queue)
        let a:d.since = reltime()
    endif
    let s:stats.queued += 1
    call add(a:d.queue, [a:kind, a:msg])
    if s:wait_timer == -1
        let s:wait_timer = timer_start(s:wait_ms, function('s:on_wait'),
                    \ {'repeat': -1})
    endif
endfunction

function! s:purge(d) abort
    let l:queue = []
    for l:item in a:d.queue
        if l:item[0] ==# 'edit'
            let s:stats.dropped += 1
        else
            call add(l:queue, l:item)
        endif
    endfor
    let a:d.queue = l:queue
endfunction

" In a timer Vim forgets over a `:normal` that it waits for the user, and would
" take nothing more of the others before the next key.  (After the callback of a
" channel it thinks of that itself.)  Timers of other plugins may do the same.
let s:reminded = reltime()

function! s:on_wait(timer) abort
    let l:waited = covim#backend('waits')
    call covim#doc#drain()
    if !covim#backend('waits') && (l:waited
                \ || reltimefloat(reltime(s:reminded)) > s:remind_s)
        let s:reminded = reltime()
        call covim#backend('remind')
    endif
endfunction

" Takes what waited, if this is a safe moment.
function! covim#doc#drain() abort
    if s:wait_timer == -1
        return
    endif
    let l:left = 0
    for l:d in values(s:docs)
        while !empty(l:d.queue) && s:safe(l:d.buf)
            let [l:kind, l:msg] = remove(l:d.queue, 0)
            call s:take(l:d, l:kind, l:msg)
        endwhile
        let l:left += len(l:d.queue)
        if empty(l:d.queue) && l:d.peers_stale
            call covim#view#draw(l:d)
        endif
    endfor
    if l:left == 0 && s:wait_timer != -1
        call timer_stop(s:wait_timer)
        let s:wait_timer = -1
    endif
endfunction

function! s:take(d, kind, msg) abort
    if a:kind ==# 'resync'
        call s:resync(a:d, a:msg)
        return
    endif
    if covim#num(a:msg, 'epoch', -1) != a:d.epoch || !bufloaded(a:d.buf)
        return
    endif
    if a:kind ==# 'eol'
        call s:take_eol(a:d, covim#bool(a:msg, 'eol', 1))
        return
    endif
    " A change that was not sent goes first, and makes this edit stale.
    call covim#doc#flush(a:d.buf)
    if covim#num(a:msg, 'erev', -1) != a:d.erev
        let s:stats.dropped += 1
        return
    endif
    if covim#apply#edit(a:d, get(a:msg, 'range', []), get(a:msg, 'text', ''),
                \ covim#bool(a:msg, 'joined', 0))
        let a:d.rev += 1
        let s:stats.applied += 1
        call covim#blame#changed(a:d.buf)
        call covim#view#text_moved(a:d.buf)
        if a:d.rev == a:d.acked + 1
            call timer_start(s:ack_ms, function('s:on_ack', [a:d]))
        endif
    else
        " The agent believes in another text: show it what is here.
        let s:stats.refused += 1
        call covim#doc#verify(a:d)
    endif
endfunction

function! s:take_eol(d, eol) abort
    let a:d.applying = 1
    call setbufvar(a:d.buf, '&eol', a:eol ? 1 : 0)
    call setbufvar(a:d.buf, '&fixeol', a:eol ? 1 : 0)
    let a:d.applying = 0
    let a:d.eol = covim#text#eol(a:d.buf)
endfunction

function! s:on_ack(d, timer) abort
    if a:d.state ==# 'live' && a:d.rev != a:d.acked
        let a:d.acked = a:d.rev
        call covim#rpc#notify('ack', {'doc': a:d.doc, 'epoch': a:d.epoch,
                    \ 'rev': a:d.rev})
    endif
endfunction

" The whole text.  {{{1

" The agent found that the texts differ: its text wins, ours is kept.
function! s:resync(d, msg) abort
    let l:d = a:d
    let l:new = covim#lines(a:msg)
    let l:old = getbufline(l:d.buf, 1, '$')
    let l:reason = covim#clean(covim#str(a:msg, 'reason', ''), 80)
    if l:old !=# l:new && l:old !=# ['']
        let l:kept = covim#ui#keep(l:d.path, l:old)
        call covim#ui#say('warn', 'covim: ' . l:d.show . ' was set right ('
                    \ . l:reason . '); your text is in buffer ' . l:kept)
    endif
    call covim#apply#lines(l:d, l:new)
    let l:d.epoch = covim#num(a:msg, 'epoch', l:d.epoch)
    call s:reset(l:d)
    call s:take_eol(l:d, covim#bool(a:msg, 'eol', 1))
    call covim#blame#changed(l:d.buf)
    call covim#event('CoVimResync', {'buf': l:d.buf, 'reason': l:reason})
endfunction

" Idle.  {{{1

function! s:tick_start() abort
    if s:tick_timer == -1
        let s:tick_timer = timer_start(s:idle_ms, function('s:on_tick'),
                    \ {'repeat': -1})
    endif
endfunction

" Every half second while there is something to watch.
function! s:on_tick(timer) abort
    let l:busy = 0
    for l:d in values(s:docs)
        let l:unsynced = l:d.state ==# 'live' ? l:d.erev - l:d.shared
                    \ : l:d.dirty
        " Only what stays unsynced is worth a word.
        let l:d.unsynced = l:d.unsynced_before > 0 ? l:unsynced : 0
        let l:d.unsynced_before = l:unsynced
        let l:unkept = l:d.state ==# 'live' ? l:d.erev - l:d.kept : 0
        let l:d.unkept = l:d.unkept_before > 0 ? l:unkept : 0
        let l:d.unkept_before = l:unkept
        if l:d.state ==# 'live' && !l:d.verified && !l:d.dirty
                    \ && empty(l:d.queue)
                    \ && reltimefloat(reltime(l:d.changed)) >= s:verify_s
            call covim#doc#verify(l:d)
        endif
        let l:busy += l:unsynced || l:unkept || !l:d.verified
                    \ || !empty(l:d.queue)
    endfor
    call covim#ui#refresh()
    if !l:busy
        call timer_stop(s:tick_timer)
        let s:tick_timer = -1
    endif
endfunction

function! covim#doc#verify(d) abort
    if a:d.state !=# 'live' || !bufloaded(a:d.buf)
        return
    endif
    call covim#doc#flush(a:d.buf)
    let a:d.verified = 1
    let a:d.acked = a:d.rev
    let l:lines = getbufline(a:d.buf, 1, '$')
    call covim#rpc#notify('verify', {'doc': a:d.doc, 'epoch': a:d.epoch,
                \ 'rev': a:d.rev, 'erev': a:d.erev, 'count': len(l:lines),
                \ 'sha256': sha256(join(l:lines, "\n"))})
endfunction

" Everything that was typed, before the editor ends.
function! covim#doc#flush_all() abort
    for l:d in values(s:docs)
        call covim#doc#flush(l:d.buf)
    endfor
endfunction

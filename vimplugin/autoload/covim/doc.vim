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

" The text.  {{{1

" Why these lines cannot be shared, or ''.  JSON would change an invalid byte
" silently, and a line with NUL has no form in the protocol.
function! covim#doc#refusal(lines) abort
    if s:has_nul(a:lines)
        return 'the text holds NUL characters'
    endif
    return s:is_utf8(a:lines) ? '' : 'the text is not valid UTF-8'
endfunction

" Searching bytes, for a pattern takes seconds in a line of 1 MB.
function! s:has_nul(lines) abort
    return stridx(join(a:lines, ''), "\n") >= 0
endfunction

function! s:is_utf8(lines) abort
    try
        if json_decode(json_encode(a:lines)) !=# a:lines
            return 0
        endif
    catch
        return 0
    endtry
    " JSON lets surrogates through: 0xed and a byte from 0xa0 on.
    let l:text = join(a:lines, '')
    if stridx(l:text, "\xed") >= 0
        for l:second in s:surrogates
            if stridx(l:text, l:second) >= 0
                return 0
            endif
        endfor
    endif
    return 1
endfunction

let s:surrogates = map(range(0xa0, 0xbf), 'eval(printf("\"\\xed\\x%x\"", v:val))')

" The model of the end of a file: the text ends with LF unless the file has
" none and is to have none.
function! s:eol(buf) abort
    return getbufvar(a:buf, '&eol') || (getbufvar(a:buf, '&fixeol')
                \ && !getbufvar(a:buf, '&binary'))
endfunction

function! s:line_count(buf) abort
    return a:buf == bufnr('%') ? line('$')
                \ : get(get(getbufinfo(a:buf), 0, {}), 'linecount', 1)
endfunction

" What `share` and `resume` send: the whole text and how its file is written.
function! covim#doc#snapshot(buf) abort
    return {'lines': getbufline(a:buf, 1, '$'),
                \ 'eol': s:eol(a:buf) ? v:true : v:false,
                \ 'ft': getbufvar(a:buf, '&filetype'),
                \ 'ff': getbufvar(a:buf, '&fileformat'),
                \ 'fenc': getbufvar(a:buf, '&fileencoding'),
                \ 'bomb': getbufvar(a:buf, '&bomb') ? v:true : v:false}
endfunction

" Documents come and go.  {{{1

" Begins to watch a buffer; the counters start with the text as it is now.
function! covim#doc#add(buf, fields) abort
    let l:d = extend({'buf': a:buf, 'doc': -1, 'epoch': -1, 'session': -1,
                \ 'key': '', 'path': '', 'role': 'editor', 'mine': 0,
                \ 'state': 'opening', 'applying': 0, 'peers': [], 'places': [],
                \ 'peers_stale': 0, 'unsynced': 0, 'unsynced_before': 0,
                \ 'unkept': 0, 'unkept_before': 0, 'before': [0, 0], 'befores': {}, 'since': reltime(),
                \ 'eol': s:eol(a:buf), 'joined': 0, 'moved': 0}, a:fields)
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
    let a:d.n = s:line_count(a:d.buf)
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
    let l:params = covim#doc#snapshot(a:d.buf)
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
        let [l:d.replaced, l:d.n] = [0, s:line_count(a:buf)]
        let [l:d.lo, l:d.tail] = [1, 0]
    endif
    if l:d.n != s:line_count(a:buf)
        " Never seen; if it comes, everything is sent rather than guessed.
        let s:stats.odd += 1
        let l:d.n = s:line_count(a:buf)
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
    let l:eol = s:eol(a:buf)
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
    if !empty(l:d.queue)
        " All of them rested on less than this change.
        call s:purge(l:d)
    endif
    return 1
endfunction

" 'eol' and its relatives changed.
function! covim#doc#eol_changed(buf) abort
    let l:d = get(s:docs, a:buf, {})
    if !empty(l:d) && !l:d.applying && s:eol(a:buf) != l:d.eol && !l:d.dirty
        let [l:d.lo, l:d.dirty] = [l:d.n + 1, 1]
        let l:d.tail = 0
        call timer_start(0, function('s:on_dirty', [a:buf]))
    endif
endfunction

" Bytes that cannot be sent as they are become U+FFFD, in the buffer too: it
" must hold what the others see.  Returns the lines to send.
function! s:repair(d, first, lines) abort
    if !s:has_nul(a:lines) && s:is_utf8(a:lines)
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
        if s:has_nul([l:line]) || !s:is_utf8([l:line])
            let l:good = join(map(split(l:line, '\zs'),
                        \ 's:is_char(v:val) ? v:val : "\ufffd"'), '')
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

" A byte that is no character comes as a string of that one byte.
function! s:is_char(char) abort
    let l:nr = char2nr(a:char)
    return a:char !=# "\n" && (l:nr < 0x80 || len(a:char) > 1)
                \ && (l:nr < 0xd800 || l:nr > 0xdfff)
endfunction

" Edits of others.  {{{1

" Where the byte `col` of line `lnum` is after an edit {l1, c1, l2, c2, el,
" ec}: its range, and where the inserted text ends.  What was deleted moves
" to its start; a place where text was inserted stays when `stay`, else it
" moves with the character that follows.
function! covim#doc#shift(lnum, col, edit, stay) abort
    let l:e = a:edit
    if a:lnum < l:e.l1 || a:lnum == l:e.l1 && (a:col < l:e.c1
                \ || a:col == l:e.c1 && a:stay)
        return [a:lnum, a:col]
    endif
    if a:lnum > l:e.l2
        return [a:lnum + l:e.el - l:e.l2, a:col]
    endif
    if a:lnum == l:e.l2 && a:col >= l:e.c2
        return [l:e.el, a:col - l:e.c2 + l:e.ec]
    endif
    return [l:e.l1, l:e.c1]
endfunction

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
        while empty(l:answer) && reltimefloat(reltime(l:start)) < s:answer_s
            sleep 1m
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

function! s:on_wait(timer) abort
    call covim#doc#drain()
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
    if s:apply(a:d, get(a:msg, 'range', []), get(a:msg, 'text', ''))
        let a:d.rev += 1
        let s:stats.applied += 1
        call covim#blame#changed(a:d.buf)
        if a:d.rev == a:d.acked + 1
            call timer_start(s:ack_ms, function('s:on_ack', [a:d]))
        endif
    else
        " The agent believes in another text: show it what is here.
        let s:stats.refused += 1
        call covim#doc#verify(a:d)
    endif
endfunction

" Applies the replacement of a range of bytes.  Returns 0 when it does not fit.
function! s:apply(d, range, text) abort
    let l:d = a:d
    if type(a:range) != type([]) || len(a:range) != 4
                \ || type(a:text) != type('')
                \ || len(filter(copy(a:range), 'type(v:val) == type(0)')) != 4
        return 0
    endif
    let [l:l1, l:c1, l:l2, l:c2] = a:range
    if l:l1 < 1 || l:l2 < l:l1 || l:l2 > l:d.n || l:c1 < 0 || l:c2 < 0
                \ || l:l1 == l:l2 && l:c2 < l:c1
        return 0
    endif
    let l:old = getbufline(l:d.buf, l:l1, l:l2)
    if l:c1 > len(l:old[0]) || l:c2 > len(l:old[-1])
        return 0
    endif
    let l:new = split(a:text, "\n", 1)
    if empty(l:new)
        let l:new = ['']
    endif
    let l:edit = {'l1': l:l1, 'c1': l:c1, 'l2': l:l2, 'c2': l:c2,
                \ 'el': l:l1 + len(l:new) - 1,
                \ 'ec': len(l:new[-1]) + (len(l:new) == 1 ? l:c1 : 0)}
    let l:edit.parts = copy(l:new)
    if l:d.buf == s:forced
        let l:inside = l:l1 == l:l2 && l:edit.el == l:l1
                    \ && get(s:last_edit, 'l1', l:l1) == l:l1
                    \ && get(s:last_edit, 'inside', 1)
        if get(s:last_edit, 'l1', s:max) >= l:l1
            let s:last_edit = extend({'ends': [l:c1 == len(l:old[0]),
                        \ l:c2 == len(l:old[-1])]}, l:edit)
        endif
        let s:last_edit.inside = l:inside
    endif
    let l:new[0] = strpart(l:old[0], 0, l:c1) . l:new[0]
    let l:new[-1] .= strpart(l:old[-1], l:c2)
    return s:replace(l:d, l:l1, l:old, l:new, l:edit)
endfunction

" The list without its first `skip` and its last `drop` items.
function! s:middle(list, skip, drop) abort
    let l:end = len(a:list) - a:drop - 1
    return l:end < a:skip ? [] : a:list[a:skip : l:end]
endfunction

" Lines from `first` on, now `old`, become `new`.  Only those that differ are
" touched, so that marks, folds and properties of the others stay.  Returns
" whether it could be done.
function! s:replace(d, first, old, new, edit) abort
    let l:d = a:d
    let l:buf = l:d.buf
    let l:first = a:first
    let l:old = a:old
    let l:new = a:new
    let l:most = min([len(l:old), len(l:new)])
    let l:skip = 0
    while l:skip < l:most && l:old[l:skip] ==# l:new[l:skip]
        let l:skip += 1
    endwhile
    let l:same = 0
    while l:same < l:most - l:skip
                \ && l:old[-1 - l:same] ==# l:new[-1 - l:same]
        let l:same += 1
    endwhile
    if l:skip + l:same > 0
        let l:first += l:skip
        let l:old = s:middle(l:old, l:skip, l:same)
        let l:new = s:middle(l:new, l:skip, l:same)
    endif
    if empty(l:old) && empty(l:new)
        return 1
    endif
    let l:done = 0
    let l:views = s:save_views(l:buf, a:edit)
    let l:d.applying = 1
    let l:here = l:buf == bufnr('%')
    let l:locked = !getbufvar(l:buf, '&modifiable')
    if l:locked
        call setbufvar(l:buf, '&modifiable', 1)
    endif
    try
        " Setting 'undolevels' ends the undo block of the user, and ours.
        if l:here
            noautocmd let &l:undolevels = &l:undolevels
        endif
        noautocmd let l:done = covim#backend('replace', l:buf, l:first,
                    \ l:first + len(l:old) - 1, l:new, a:edit)
        if l:here
            noautocmd let &l:undolevels = &l:undolevels
            call s:go_on_inserting()
        endif
        call covim#backend('flush', l:buf)
    finally
        if l:locked
            call setbufvar(l:buf, '&modifiable', 0)
        endif
        let l:d.applying = 0
        let l:d.n = l:done ? l:d.n + len(l:new) - len(l:old)
                    \ : s:line_count(l:buf)
        let l:d.tail = l:d.n
        let l:d.changed = reltime()
        let l:d.verified = 0
    endtry
    if len(l:new) != len(l:old)
        call covim#backend('lines_moved', l:buf, l:first + len(l:old),
                    \ len(l:new) - len(l:old))
    endif
    call s:restore_views(l:views)
    return l:done
endfunction

let s:split = 0

" In insert mode the text is saved for undo once, at the start: what is typed
" after another change to the buffer, lines above all, would not be undone.
" CTRL-G u makes the editor save again.
function! s:go_on_inserting() abort
    if mode() =~# '^[iR]' && !s:split
        let s:split = 1
        call feedkeys("\<C-g>u", 'ni')
        call timer_start(0, function('s:on_split'))
    endif
endfunction

function! s:on_split(timer) abort
    let s:split = 0
endfunction

function! s:take_eol(d, eol) abort
    let a:d.applying = 1
    call setbufvar(a:d.buf, '&eol', a:eol ? 1 : 0)
    call setbufvar(a:d.buf, '&fixeol', a:eol ? 1 : 0)
    let a:d.applying = 0
    let a:d.eol = s:eol(a:d.buf)
endfunction

function! s:on_ack(d, timer) abort
    if a:d.state ==# 'live' && a:d.rev != a:d.acked
        let a:d.acked = a:d.rev
        call covim#rpc#notify('ack', {'doc': a:d.doc, 'epoch': a:d.epoch,
                    \ 'rev': a:d.rev})
    endif
endfunction

" Views.  {{{1

" Vim moves cursors by lines at best, and those of other windows twice: where
" each belongs is computed here.
function! s:save_views(buf, edit) abort
    let l:views = []
    let l:current = win_getid()
    for l:win in win_findbuf(a:buf)
        if l:win == l:current
            let l:view = winsaveview()
            let l:mode = mode()
            let l:view.insert = l:mode =~# '^[iR]'
        else
            call win_execute(l:win, 'let s:view = winsaveview()')
            let l:view = s:view
            let l:view.insert = 0
            let l:mode = 'n'
        endif
        " In insert mode, and at the end of a line, there is no character
        " under the cursor: text that comes in there goes behind it.
        let l:stay = l:view.insert || l:view.col
                    \ >= len(get(getbufline(a:buf, l:view.lnum), 0, ''))
        let [l:lnum, l:col] = covim#doc#shift(l:view.lnum, l:view.col,
                    \ a:edit, l:stay)
        let l:view.lnum = l:lnum
        if l:view.curswant != 2147483647 && l:col != l:view.col
            let l:view.curswant += l:col - l:view.col
        endif
        let l:view.col = l:col
        if l:view.topline > 1
            let l:view.topline = covim#doc#shift(l:view.topline, 0,
                        \ a:edit, 0)[0]
        endif
        let l:view.win = l:win
        if l:win == l:current && l:mode =~# "^[vV\<C-v>]"
            let [l:lnum, l:col] = getpos('v')[1:2]
            let l:view.anchor = covim#doc#shift(l:lnum, l:col - 1, a:edit, 0)
            " Out of the way while lines come and go.
            call s:move_anchor([1, 0])
        endif
        call add(l:views, l:view)
    endfor
    return l:views
endfunction

function! s:move_anchor(pos) abort
    noautocmd normal! o
    call cursor(a:pos[0], a:pos[1] + 1)
    noautocmd normal! o
endfunction

function! s:restore_views(views) abort
    let l:current = win_getid()
    for l:view in a:views
        if l:view.win == l:current
            if has_key(l:view, 'anchor')
                call s:move_anchor(l:view.anchor)
            endif
            call s:restore_view(l:view)
        else
            let s:view = l:view
            call win_execute(l:view.win, 'call s:restore_view(s:view)')
        endif
    endfor
endfunction

" Redraws nothing when the window shows what it should already.
function! s:restore_view(view) abort
    let l:is = winsaveview()
    if l:is.topline != a:view.topline
        call winrestview({'topline': a:view.topline, 'lnum': a:view.lnum,
                    \ 'col': a:view.col, 'coladd': a:view.coladd,
                    \ 'curswant': a:view.curswant})
    elseif l:is.lnum != a:view.lnum || l:is.col != a:view.col
        call cursor([a:view.lnum, a:view.col + 1, a:view.coladd,
                    \ a:view.curswant == 2147483647 ? a:view.curswant
                    \ : a:view.curswant + 1])
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
    call covim#doc#set_lines(l:d, l:new)
    let l:d.epoch = covim#num(a:msg, 'epoch', l:d.epoch)
    call s:reset(l:d)
    call s:take_eol(l:d, covim#bool(a:msg, 'eol', 1))
    call covim#blame#changed(l:d.buf)
    call covim#event('CoVimResync', {'buf': l:d.buf, 'reason': l:reason})
endfunction

" Makes the buffer hold `new`, touching only the lines that differ.
function! covim#doc#set_lines(d, new) abort
    let l:d = a:d
    call covim#backend('flush', l:d.buf)
    let l:old = getbufline(l:d.buf, 1, '$')
    let l:d.n = len(l:old)
    let l:most = min([len(l:old), len(a:new)])
    let l:skip = 0
    while l:skip < l:most && l:old[l:skip] ==# a:new[l:skip]
        let l:skip += 1
    endwhile
    let l:same = 0
    while l:same < l:most - l:skip
                \ && l:old[-1 - l:same] ==# a:new[-1 - l:same]
        let l:same += 1
    endwhile
    " For the cursors: as if the differing lines were replaced as a whole.
    call s:replace(l:d, 1, l:old, a:new, {'l1': l:skip + 1, 'c1': 0,
                \ 'l2': len(l:old) - l:same + 1, 'c2': 0,
                \ 'el': len(a:new) - l:same + 1, 'ec': 0})
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

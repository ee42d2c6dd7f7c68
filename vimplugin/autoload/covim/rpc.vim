" covim#rpc: the agent: started on first need, spoken to, restarted when it
" dies.  One agent serves this editor; docs/editor.md is the protocol.

" '' not started, 'starting' (no answer to hello yet), 'ready', or 'waiting'
" for the next attempt after a crash.
let s:state = ''
" Counts the starts; callbacks of an older agent are ignored.
let s:generation = 0
let s:started = 0
let s:attempt = 0
let s:timer = -1
let s:serial = 0
" Requests that have been sent, and those that wait for hello.
let s:pending = {}
let s:held = []
let s:hello = {}
let s:stderr = []
let s:leaving = 0
" Seconds before each attempt; the last one repeats.
let s:backoff = [0.2, 1.0, 5.0, 15.0]
let s:hello_ms = 10000

let s:here = expand('<sfile>:p:h:h:h')

function! covim#rpc#state() abort
    return s:state
endfunction

function! covim#rpc#generation() abort
    return s:generation
endfunction

function! covim#rpc#hello() abort
    return s:hello
endfunction

function! covim#rpc#stderr() abort
    return s:stderr
endfunction

" The command line of the agent, or [] when there is no such program.
function! covim#rpc#command() abort
    let l:cmd = get(g:, 'covim_command', ['covim', 'agent'])
    if type(l:cmd) == type('')
        let l:cmd = split(l:cmd)
    endif
    if empty(l:cmd)
        return []
    endif
    if executable(l:cmd[0])
        return copy(l:cmd)
    endif
    if !exists('g:covim_command')
        " A checkout: the newest program that was built beside the plugin.
        let l:best = ''
        for l:path in glob(s:here . '/../build*/cli/covim', 1, 1)
                    \ + glob(s:here . '/../build/*/cli/covim', 1, 1)
            if executable(l:path)
                        \ && (empty(l:best) || getftime(l:path) > getftime(l:best))
                let l:best = l:path
            endif
        endfor
        if !empty(l:best)
            return [fnamemodify(l:best, ':p'), 'agent']
        endif
    endif
    return []
endfunction

function! s:list(value) abort
    return type(a:value) == type([]) ? a:value
                \ : split(a:value, '[, \t]\+')
endfunction

function! s:hello_params() abort
    let l:params = {'client': covim#backend('version'), 'protocol': 1,
                \ 'name': covim#name()}
    for l:key in ['bootstrap', 'stun', 'gate']
        if exists('g:covim_' . l:key)
            let l:params[l:key] = s:list(g:['covim_' . l:key])
        endif
    endfor
    if exists('g:covim_lan')
        let l:params.lan = g:covim_lan ? v:true : v:false
    endif
    if exists('g:covim_port_mapping')
        let l:params.port_mapping = g:covim_port_mapping ? v:true : v:false
    endif
    if exists('g:covim_birthday')
        let l:params.birthday = g:covim_birthday
    endif
    if exists('g:covim_log')
        let l:params.log = g:covim_log
    endif
    return l:params
endfunction

" Starts the agent unless it runs.  Throws a sentence for the user.
function! covim#rpc#start() abort
    if s:state ==# 'starting' || s:state ==# 'ready'
        return
    endif
    let l:cmd = covim#rpc#command()
    if empty(l:cmd)
        let l:cmd = get(g:, 'covim_command', ['covim', 'agent'])
        let l:name = type(l:cmd) == type([]) ? get(l:cmd, 0, '') : l:cmd
        throw 'covim: cannot run "' . covim#clean(l:name, 60)
                    \ . '": install covim or set g:covim_command'
                    \ . ' (:help covim-install)'
    endif
    if s:timer != -1
        call timer_stop(s:timer)
        let s:timer = -1
    endif
    let s:generation += 1
    let s:leaving = 0
    let s:stderr = []
    let s:started = localtime()
    if !covim#backend('start', l:cmd, s:generation)
        throw 'covim: cannot run "' . covim#clean(l:cmd[0], 60)
                    \ . '" (:help covim-install)'
    endif
    let s:state = 'starting'
    let l:generation = s:generation
    call s:send('hello', s:hello_params(),
                \ function('s:on_hello', [l:generation]))
    let s:timer = timer_start(s:hello_ms,
                \ function('s:on_hello_timeout', [l:generation]))
endfunction

" Tells an agent that runs already what the user is called now.
function! covim#rpc#rename() abort
    if s:state ==# 'ready'
        call s:send('hello', s:hello_params(), function('s:on_renamed'))
    endif
endfunction

function! s:on_renamed(error, result) abort
    if empty(a:error)
        let s:hello = a:result
    endif
endfunction

function! s:on_hello_timeout(generation, timer) abort
    if a:generation == s:generation && s:state ==# 'starting'
        call add(s:stderr, 'no answer to hello')
        call covim#backend('stop')
    endif
endfunction

function! s:on_hello(generation, error, result) abort
    if a:generation != s:generation
        return
    endif
    call timer_stop(s:timer)
    let s:timer = -1
    if !empty(a:error)
        " What the agent has to say about itself is the best explanation.
        call add(s:stderr, get(a:error, 'message', 'hello was refused'))
        let s:hello_error = a:error
        call covim#backend('stop')
        return
    endif
    let s:hello = a:result
    let s:state = 'ready'
    call covim#agent_back()
    let l:held = s:held
    let s:held = []
    for [l:method, l:params, l:Callback] in l:held
        call s:send(l:method, l:params, l:Callback)
    endfor
    call covim#ui#refresh()
endfunction

function! s:send(method, params, Callback) abort
    let s:serial += 1
    let s:pending[s:serial] = a:Callback
    call s:write({'id': s:serial, 'method': a:method, 'params': a:params})
endfunction

" One object, one line.
function! s:write(msg) abort
    call covim#backend('send', json_encode(extend({'jsonrpc': '2.0'}, a:msg))
                \ . "\n")
endfunction

" Calls Callback(error, result) once; one of the two is {}.  Throws what
" covim#rpc#start() throws.
function! covim#rpc#request(method, params, Callback) abort
    call covim#rpc#start()
    if s:state ==# 'ready'
        call s:send(a:method, a:params, a:Callback)
    else
        call add(s:held, [a:method, a:params, a:Callback])
    endif
endfunction

" Lost without a word when there is no agent: what matters is sent again by
" `resume`.
function! covim#rpc#notify(method, params) abort
    if s:state ==# 'ready'
        call s:write({'method': a:method, 'params': a:params})
    endif
endfunction

" The back end hands in what the agent says, a line each, ...
function! covim#rpc#on_line(generation, line) abort
    if a:generation != s:generation
        return
    endif
    try
        let l:msg = json_decode(a:line)
    catch
        return
    endtry
    if type(l:msg) != type({})
        return
    elseif has_key(l:msg, 'method')
        call s:on_notification(l:msg)
    else
        call s:on_response(l:msg)
    endif
endfunction

function! s:on_response(msg) abort
    let l:serial = covim#num(a:msg, 'id', -1)
    if !has_key(s:pending, l:serial)
        return
    endif
    let l:Callback = remove(s:pending, l:serial)
    let l:error = get(a:msg, 'error', {})
    if type(l:error) != type({})
        let l:error = {}
    endif
    let l:result = get(a:msg, 'result', {})
    if type(l:result) != type({})
        let l:result = {}
    endif
    call l:Callback(l:error, l:result)
endfunction

function! s:on_notification(msg) abort
    let l:params = get(a:msg, 'params', {})
    if type(l:params) == type({}) && type(a:msg.method) == type('')
        call covim#dispatch(a:msg.method, l:params)
    endif
endfunction

" ... the log, ...
function! covim#rpc#on_stderr(generation, line) abort
    if a:generation == s:generation && !empty(a:line)
        call add(s:stderr, covim#clean(a:line, 200))
        if len(s:stderr) > 200
            call remove(s:stderr, 0, 99)
        endif
    endif
endfunction

" ... and the end of the agent.
function! covim#rpc#on_exit(generation) abort
    if a:generation != s:generation || s:state ==# ''
                \ || s:state ==# 'waiting'
        return
    endif
    let l:was = s:state
    let s:state = ''
    let l:why = exists('s:hello_error') ? s:hello_error
                \ : {'code': -32000, 'message': 'the agent ended'
                \ . (empty(s:stderr) ? '' : ': ' . s:stderr[-1])}
    unlet! s:hello_error
    let l:why.ended = 1
    if s:timer != -1
        call timer_stop(s:timer)
        let s:timer = -1
    endif
    let l:docs = covim#agent_gone()
    if s:leaving
        let l:docs = 0
    endif
    let l:pending = s:pending
    let s:pending = {}
    for l:key in sort(keys(l:pending), 'N')
        if l:was ==# 'ready'
            call l:pending[l:key](l:why, {})
        endif
    endfor
    if l:docs == 0
        " Nothing to go on with: whoever waits is told.
        let l:held = s:held
        let s:held = []
        for [l:method, l:params, l:Callback] in l:held
            call l:Callback(l:why, {})
        endfor
        call covim#ui#refresh()
        return
    endif
    if l:was ==# 'ready' && localtime() - s:started >= 30
        let s:attempt = 0
    endif
    if l:was ==# 'ready' || s:attempt == 0
        call covim#ui#say('warn', 'covim: ' . get(l:why, 'message', '')
                    \ . '; your text stays, starting it again')
    endif
    let l:delay = s:backoff[min([s:attempt, len(s:backoff) - 1])]
    let s:attempt += 1
    let s:state = 'waiting'
    let s:timer = timer_start(float2nr(l:delay * 1000),
                \ function('s:on_restart', [s:generation]))
    call covim#ui#refresh()
endfunction

function! s:on_restart(generation, timer) abort
    let s:timer = -1
    if a:generation != s:generation || s:state !=# 'waiting'
        return
    endif
    try
        call covim#rpc#start()
    catch /^covim:/
        " The program is gone, perhaps being upgraded: look again later.
        let s:state = 'waiting'
        let s:timer = timer_start(float2nr(s:backoff[-1] * 1000),
                    \ function('s:on_restart', [s:generation]))
    endtry
endfunction

" The editor ends: hand over what was typed last, close stdin, and let the
" agent take its leave on its own time.
function! covim#rpc#finish() abort
    if s:state ==# 'ready'
        let s:leaving = 1
        call s:finish(1000)
    elseif s:state ==# 'starting'
        let s:leaving = 1
        call covim#backend('stop')
    endif
endfunction

" An answer proves that all that was sent before has been read.
function! s:finish(ms) abort
    let l:answer = {}
    try
        call covim#rpc#request('status', {},
                    \ {error, result -> extend(l:answer, {'came': 1})})
        call covim#backend('wait', a:ms, {-> !empty(l:answer)})
        call covim#backend('close')
    catch
    endtry
endfunction

" Ends the agent when nothing needs it any more; the next command starts one.
function! covim#rpc#shutdown() abort
    let s:attempt = 0
    if s:state ==# 'ready' || s:state ==# 'starting'
        let s:leaving = 1
        call covim#backend('stop')
    elseif s:state ==# 'waiting'
        call timer_stop(s:timer)
        let s:timer = -1
        let s:state = ''
    endif
endfunction

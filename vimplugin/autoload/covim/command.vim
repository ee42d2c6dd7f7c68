" covim#command: what the user types after :CoVim.

let s:in_command = 0
let s:max_bytes = 33554432

let s:commands = {}

" With a range its lines, else [].
let s:range = []

" Is a command of the user running?
function! covim#command#running() abort
    return s:in_command
endfunction

function! covim#command#run(bang, args, ...) abort
    let l:missing = covim#missing()
    if !empty(l:missing)
        echohl ErrorMsg
        echomsg l:missing
        echohl None
        return
    endif
    call covim#set_up()
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

function! covim#command#complete(lead, line, pos) abort
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
    elseif l:verb ==# 'resume'
        let l:all = covim#stored#names()
    elseif l:verb =~# '^\%(revert!\=\|jump\|follow\)$'
        " A name of several words is completed as a whole.
        let l:lead = matchstr(strpart(a:line, 0, a:pos), l:verb . '\s\+\zs.*')
        return map(filter(l:verb =~# '^r' ? covim#blame#names()
                    \ : covim#follow#names(), 'stridx(v:val, l:lead) == 0'),
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
        if !empty(covim#sessions()) || !empty(covim#doc#all())
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
    if len(covim#sessions()) == 1
        return covim#sessions()[0].session
    endif
    throw empty(covim#sessions()) ? 'covim: no session'
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
    let l:snapshot = covim#text#snapshot(l:buf)
    let l:refusal = covim#text#refusal(l:snapshot.lines)
    if !empty(l:refusal)
        throw 'covim: not shared: ' . l:refusal . ' (:help covim-refused)'
    endif
    let l:path = fnamemodify(bufname('%'), ':p:.')
    if l:path =~# '^[/~]' || l:path =~# '\%(^\|/\)\.\.\%(/\|$\)'
        let l:path = fnamemodify(l:path, ':t')
    endif
    let l:params.path = empty(l:path) ? 'untitled' : l:path
    if !empty(covim#text#refusal([l:params.path]))
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
        call covim#leave(l:session, 0)
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
    for l:s in covim#sessions()
        if l:s.key ==# l:key
            throw 'covim: joining already: ' . l:s.state
        endif
    endfor
    call covim#join(l:key, win_getid(), -1)
    redraw
    echo 'covim: looking for the session'
endfunction

function! s:commands.resume(bang, words) abort
    if len(a:words) > 1
        throw 'covim: resume takes one NAME at most (:help covim-resume)'
    elseif a:bang
        call covim#stored#list()
    else
        call covim#stored#resume(get(a:words, 0, ''))
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
    call covim#connect(l:token, win_getid())
endfunction

" The knock that a command means: by name, by number, or the only one.
function! s:which_knock(words) abort
    let l:knocks = covim#knocks()
    if empty(l:knocks)
        throw 'covim: nobody knocks'
    endif
    if empty(a:words)
        if len(l:knocks) > 1
            throw 'covim: who? ' . join(map(copy(l:knocks), 'v:val.name'), ', ')
        endif
        return l:knocks[0]
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
    call covim#answer('accept', l:params, l:knock)
endfunction

function! s:commands.reject(bang, words) abort
    let l:knock = s:which_knock(a:words)
    call covim#answer('reject', {'id': l:knock.id}, l:knock)
endfunction

function! s:commands.peers(bang, words) abort
    if empty(covim#sessions())
        throw 'covim: no session'
    endif
    call covim#follow#peers()
endfunction

function! s:commands.jump(bang, words) abort
    call covim#follow#jump(join(a:words))
endfunction

function! s:commands.follow(bang, words) abort
    call covim#follow#start(join(a:words))
endfunction

function! s:commands.unfollow(bang, words) abort
    if !covim#follow#stop()
        throw 'covim: this window follows nobody'
    endif
endfunction

function! s:commands.status(bang, words) abort
    if covim#rpc#state() ==# '' && empty(covim#doc#all())
        let l:last = covim#ui#last_error()
        echo covim#clean('covim: no session; :CoVim share, join KEY or resume'
                    \ . (empty(l:last) ? '' : '; last: ' . l:last),
                    \ max([20, v:echospace]))
        return
    endif
    call covim#ui#window('status', covim#ui#status_lines({}), 1)
    if covim#rpc#state() ==# 'ready'
        call covim#rpc#request('status', {}, function('s:on_status'))
    endif
endfunction

function! s:on_status(error, result) abort
    if empty(a:error)
        call covim#ui#window('status', covim#ui#status_lines(a:result), 0)
    endif
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
    call covim#leave(s:current_session(), 1)
endfunction

function! s:commands.quit(bang, words) abort
    for l:s in covim#sessions()
        call covim#leave(l:s.session, 0)
    endfor
    execute a:bang ? 'qall!' : 'qall'
endfunction

function! s:commands.log(bang, words) abort
    call covim#ui#show_log()
endfunction

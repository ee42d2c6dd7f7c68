" covim#stored: sessions that are kept on this machine, and how to go on with
" one of them.

let s:list = []

" What the agent says of them, the one used last first.
function! s:take(result) abort
    let l:list = []
    let l:all = get(a:result, 'sessions', [])
    for l:item in type(l:all) == type([]) ? l:all : []
        let l:key = type(l:item) != type({}) ? ''
                    \ : matchstr(covim#str(l:item, 'key', ''), '^\w\+$')
        if !empty(l:key)
            call add(l:list, {'key': l:key,
                        \ 'path': covim#safe_path(covim#str(l:item, 'path', '')),
                        \ 'role': matchstr(covim#str(l:item, 'role', ''), '^[a-z]*'),
                        \ 'mine': covim#bool(l:item, 'mine', 0),
                        \ 'used': covim#num(l:item, 'used', 0)})
        endif
    endfor
    let s:list = l:list
endfunction

function! s:is_open(key) abort
    return !empty(filter(covim#doc#all() + covim#sessions(),
                \ 'v:val.key ==# a:key'))
endfunction

" Does the user mean this one?  By its path, the end of it, or its key.
function! s:fits(item, what) abort
    return empty(a:what) || a:what ==# a:item.path
                \ || a:what ==# fnamemodify(a:item.path, ':t')
                \ || a:what ==# a:item.key
                \ || a:what ==# covim#buffer#tag(a:item.key)
endfunction

" How long ago, or when.
function! s:ago(used) abort
    let l:seconds = localtime() - a:used
    if a:used <= 0
        return '-'
    elseif l:seconds < 60
        return 'just now'
    elseif l:seconds < 3600
        return l:seconds / 60 . ' min ago'
    elseif l:seconds < 86400
        return l:seconds / 3600 . ' h ago'
    endif
    return strftime('%Y-%m-%d %H:%M', a:used)
endfunction

" What can be completed, of what the agent said when it began or was asked.
function! covim#stored#names() abort
    if empty(s:list) && covim#rpc#state() ==# 'ready'
        call s:take(covim#rpc#hello())
    endif
    return uniq(sort(map(copy(s:list), 'v:val.path')))
endfunction

" Asks the agent, and goes on then.
function! s:ask(Then) abort
    call covim#rpc#request('stored', {}, function('s:on_stored', [a:Then]))
endfunction

function! s:on_stored(Then, error, result) abort
    if empty(a:error)
        call s:take(a:result)
        call a:Then()
    else
        call covim#ui#error('resume', a:error)
    endif
endfunction

" Goes on with the session that was used last, or the last one of that name.
function! covim#stored#resume(what) abort
    call s:ask(function('s:resume', [a:what, win_getid()]))
endfunction

function! s:resume(what, win) abort
    let l:fits = filter(copy(s:list), 's:fits(v:val, a:what)')
    let l:closed = filter(copy(l:fits), '!s:is_open(v:val.key)')
    if empty(s:list)
        call covim#ui#fail('covim: nothing is stored yet: :CoVim share, or'
                    \ . ' :CoVim join KEY (:help covim-resume)')
    elseif empty(l:fits)
        call covim#ui#fail('covim: nothing is stored of '
                    \ . covim#clean(a:what, 40) . ': :CoVim resume! lists what'
                    \ . ' is (:help covim-resume)')
    elseif empty(l:closed)
        call covim#ui#fail('covim: ' . (empty(a:what) ? 'every stored session'
                    \ : covim#clean(a:what, 40)) . ' is open here already')
    else
        call s:go_on(l:closed[0], a:win)
    endif
endfunction

function! s:go_on(item, win) abort
    call covim#ui#tell('covim: going on with ' . a:item.path . ' ('
                \ . s:ago(a:item.used) . ')')
    call covim#join(a:item.key, a:win, -1)
endfunction

" The list of them, in a window.  {{{1

function! covim#stored#list() abort
    call s:ask(function('s:show', [win_getid()]))
endfunction

function! s:show(win) abort
    call covim#ui#window('stored', empty(s:list) ? ['nothing is stored yet']
                \ : map(copy(s:list), 's:line(v:val)'), 1)
    call setbufvar('^covim-stored$', 'covim_stored', [copy(s:list), a:win])
    if bufname('%') ==# 'covim-stored'
        nnoremap <silent> <buffer> <nowait> <CR> :<C-u>call <SID>here()<CR>
    endif
endfunction

function! s:line(item) abort
    return printf('%-16s  %-8s  %-12s  %s', s:ago(a:item.used),
                \ a:item.mine ? 'yours' : a:item.role,
                \ s:is_open(a:item.key) ? 'open here'
                \ : covim#buffer#tag(a:item.key),
                \ covim#clean(a:item.path, 200))
endfunction

" <CR> in that window.
function! s:here() abort
    let [l:list, l:win] = b:covim_stored
    let l:item = get(l:list, line('.') - 1, {})
    if empty(l:item)
        return
    elseif s:is_open(l:item.key)
        call covim#ui#fail('covim: ' . l:item.path . ' is open here already')
        return
    endif
    close
    call s:go_on(l:item, l:win)
endfunction

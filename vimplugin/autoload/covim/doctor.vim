" covim#doctor: :CoVim doctor, what stands in the way of a connection.

let s:version = '0.1.0'
" What stays open while the agent looks: '' or what it waits for.
let s:waiting = ''
let s:running = 0

" Of the plugin; the program has to have the same.
function! covim#doctor#version() abort
    return s:version
endfunction

" What this editor has of what covim uses, a sentence.
function! s:features() abort
    let l:lacks = []
    for [l:name, l:has] in [
                \ ['popup windows', has('nvim') || exists('*popup_create')],
                \ ['virtual text', has('nvim') || has('patch-9.0.0067')],
                \ ['the clipboard', has('clipboard')]]
        if !l:has
            call add(l:lacks, l:name)
        endif
    endfor
    return empty(l:lacks) ? 'all that is used' : 'lacks ' . join(l:lacks, ', ')
endfunction

function! covim#doctor#run(addresses, key) abort
    if s:running
        throw 'covim: the doctor is at work'
    endif
    let l:params = {'addresses': a:addresses ? v:true : v:false,
                \ 'editor': {'name': covim#backend('version'),
                \ 'plugin': s:version, 'features': s:features()}}
    if !empty(a:key)
        let l:params.key = a:key
    endif
    let s:running = 1
    let s:waiting = 'the agent'
    call covim#ui#window('doctor', s:header(a:key), 1)
    call covim#rpc#request('doctor', l:params,
                \ function('s:on_report'))
endfunction

function! s:header(key) abort
    return ['The doctor looks, for at most ' . (empty(a:key) ? 12 : 25)
                \ . ' s; edit on.', '', 'waiting for ' . s:waiting]
endfunction

" What it waits for now.
function! covim#doctor#on_progress(msg) abort
    let l:what = get(a:msg, 'waiting', '')
    if s:running && type(l:what) == type('')
        let s:waiting = covim#clean(l:what, 80)
        call covim#ui#window('doctor', ['The doctor looks; edit on.', '',
                    \ 'waiting for ' . s:waiting], 0)
    endif
endfunction

function! s:on_report(error, result) abort
    let s:running = 0
    if !empty(a:error)
        call covim#ui#window('doctor', [covim#clean(
                    \ get(a:error, 'message', 'the agent failed'), 200)], 0)
        return
    endif
    let l:lines = get(a:result, 'lines', [])
    let l:lines = type(l:lines) == type([]) ? l:lines : []
    call covim#ui#window('doctor', map(filter(copy(l:lines),
                \ 'type(v:val) == type('''')'), 'covim#clean(v:val, 400)'), 0)
    let l:win = bufwinid('^covim-doctor$')
    if l:win != -1
        call setwinvar(l:win, '&wrap', 1)
        call setwinvar(l:win, '&linebreak', 1)
        call win_execute(l:win, 'resize '
                    \ . max([3, min([len(l:lines) + 1, &lines / 2])]))
    endif
endfunction

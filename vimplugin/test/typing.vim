" For tests/e2e/vim_typing.sh: shares a text, has the agent edit it, and says
" in the end whether both have the same.
unlet g:covim_apply_always
set ttimeout ttimeoutlen=5 shortmess+=I noswapfile nomore nofixendofline
set laststatus=2 statusline=%f\ %m%{covim#statusline()}%=%l,%c

function! TypingStart(dir, seed) abort
    let s:dir = a:dir
    let s:seed = a:seed
    call setline(1, map(range(1, 60),
                \ '"line " . v:val . " alpha beta é日本 word, a b c"'))
    CoVim share --open
    call timer_start(50, function('s:begin'), {'repeat': -1})
endfunction

function! s:begin(timer) abort
    let l:d = covim#doc#get(1)
    if get(l:d, 'state', '') ==# 'live'
        call timer_stop(a:timer)
        call covim#rpc#request('test/random', {'doc': l:d.doc, 'count': 100000,
                    \ 'rate': 40, 'seed': s:seed}, {e, r -> 0})
        call writefile([], s:dir . '/started')
    endif
endfunction

function! TypingFinish() abort
    let l:d = covim#doc#get(1)
    call covim#rpc#request('test/random', {'doc': l:d.doc, 'count': 0,
                \ 'rate': 1, 'seed': 1}, {e, r -> 0})
    let s:tries = 0
    call timer_start(100, function('s:poll'), {'repeat': -1})
endfunction

function! s:poll(timer) abort
    let s:tries += 1
    call covim#rpc#request('test/text', {'doc': covim#doc#get(1).doc},
                \ function('s:compare', [a:timer]))
endfunction

function! s:compare(timer, error, result) abort
    let l:d = covim#doc#get(1)
    let l:quiet = a:result.unacked == 0 && empty(l:d.queue) && !l:d.dirty
    let l:lines = getbufline(1, 1, '$')
    if !l:quiet && s:tries < 80
        return
    endif
    call timer_stop(a:timer)
    let l:stats = covim#doc#stats()
    let l:text = printf('%s: %d lines, %d changes sent, %d edits applied,'
                \ . ' %d dropped, %d queued, %d sent again',
                \ l:lines ==# a:result.truth && l:lines ==# a:result.lines
                \ && l:quiet && l:stats.odd == 0 && l:stats.refused == 0
                \ && a:result.differed == 0
                \ ? 'equal' : 'DIFFERENT', len(l:lines), l:stats.sent,
                \ l:stats.applied, l:stats.dropped, l:stats.queued,
                \ a:result.resent)
    let l:report = [l:text, string(l:stats), execute('messages')]
    if l:text !~# '^equal'
        let l:report += ['--buffer'] + l:lines + ['--truth'] + a:result.truth
    endif
    call writefile(l:report, s:dir . '/tmp')
    call rename(s:dir . '/tmp', s:dir . '/result')
    qall!
endfunction

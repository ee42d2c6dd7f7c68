" `u` and CTRL-R of a shared buffer against those of the editor: alone, they
" give the same text, and put the cursor in the same place.  Runs in a terminal
" with the real agent (tests/e2e/vim_undo.sh).
let g:covim_undo = 'own'
let g:covim_command = [$COVIM_AGENT, 'agent', '--no-lan']
let g:covim_bootstrap = ['none']
unlet! g:covim_apply_always
set ttimeout ttimeoutlen=5 shortmess+=I noswapfile nomore sw=4 et nowrapscan startofline

let s:text = ['one two three', '    four five six', 'seven eight', '',
            \ '    nine ten', 'eleven twelve']

" [where to go, keys of a command, whether the cursor is compared after u, after
" CTRL-R]: where it is not, Vim goes to another of the lines that changed
let s:cases = [
            \ ["2G6|", "x", 1, 1], ["2G6|", "3x", 1, 1], ["2G6|", "dw", 1, 1],
            \ ["2G6|", "iabc\<Esc>", 1, 1], ["2G6|", "aabc\<Esc>", 1, 1],
            \ ["2G", "Aabc\<Esc>", 1, 1], ["2G", "Iabc\<Esc>", 1, 1],
            \ ["3G0", "iabc\<Esc>", 1, 1],
            \ ["2G6|", "cwfoo\<Esc>", 1, 1], ["2G6|", "rX", 1, 1], ["2G6|", "~", 1, 1],
            \ ["2G6|", "D", 1, 1], ["2G6|", "Cnew\<Esc>", 1, 1],
            \ ["2G6|", "dd", 1, 0], ["1G", "dd", 1, 1], ["6G3|", "dd", 1, 0],
            \ ["2G6|", "2dd", 1, 1], ["1G3|", "dG", 1, 1],
            \ ["2G6|", "onew\<Esc>", 1, 1], ["2G6|", "Onew\<Esc>", 1, 1],
            \ ["6G3|", "onew\<Esc>", 1, 1], ["1G3|", "Onew\<Esc>", 1, 1],
            \ ["2G6|", "yyp", 1, 1], ["2G6|", "yyP", 1, 1], ["3G3|", "yw6|P", 1, 1],
            \ ["2G6|", "J", 1, 1], ["2G6|", ">>", 1, 1], ["2G6|", ">j", 1, 1],
            \ ["3G", "ccwhole\<Esc>", 1, 1],
            \ ["3G4|", "ione\<CR>two\<CR>three\<Esc>", 1, 1],
            \ ["", ":%s/e/E/g\<CR>", 1, 1], ["", ":g/e/d\<CR>", 0, 1],
            \ ["", ":2,3m$\<CR>", 0, 0], ["", ":sort\<CR>", 0, 0],
            \ ["2G6|", "Vjd", 1, 1], ["2G6|", "vjd", 1, 1], ["2G6|", "\<C-v>jld", 1, 1],
            \ ["1G3|", "\<C-v>2jIZZ\<Esc>", 1, 1], ["3G3|", "Rover\<Esc>", 1, 1],
            \ ["6G", "p", 1, 1], ["3G3|", "i\<C-v>u00e9\<Esc>", 1, 1]]

let s:state = {'case': 0, 'step': 0, 'seen': []}
let s:results = []

function! UndoStart(dir) abort
    let s:dir = a:dir
    call timer_start(20, function('s:next'))
endfunction

let s:typed = 1

function! UndoTyped() abort
    let s:typed = 1
endfunction

function! s:see() abort
    call add(s:state.seen, [getline(1, '$'), [line('.'), col('.')]])
endfunction

let s:steps = ['go', 'do', "u", "\<C-r>", "u"]

" Each step is keys, and a look at what came of them.
function! s:next(timer) abort
    try
        call s:do()
    catch
        call add(s:results, 'FAIL ' . v:exception . ' ' . v:throwpoint)
        call s:end()
    endtry
endfunction

function! s:do() abort
    let l:case = s:cases[s:state.case / 2]
    let l:own = s:state.case % 2
    if s:state.step == 0
        enew!
        call setline(1, s:text)
        let &l:undolevels = &l:undolevels
        let @" = "reg\n"
        call cursor(4, 1)
        if l:own
            CoVim share --open
        endif
        let s:state.step = 1
        call timer_start(20, function('s:next'))
        return
    endif
    if !s:typed || l:own
                \ && get(covim#doc#get(bufnr('%')), 'state', '') !=# 'live'
        call timer_start(20, function('s:next'))
        return
    endif
    if s:state.step > 2
        call s:see()
    endif
    if s:state.step <= len(s:steps)
        let l:keys = s:state.step <= 2 ? l:case[s:state.step - 1] : s:steps[s:state.step - 1]
        let s:state.step += 1
        " While `u` waits for the agent, timers run.
        let s:typed = 0
        call feedkeys(l:keys . "\<Cmd>call UndoTyped()\<CR>", 't')
        call timer_start(60, function('s:next'))
        return
    endif
    if l:own
        CoVim leave
        call s:judge(l:case)
    else
        let s:native = s:state.seen
    endif
    let s:state = {'case': s:state.case + 1, 'step': 0, 'seen': []}
    if s:state.case == 2 * len(s:cases)
        call s:end()
    else
        call timer_start(20, function('s:next'))
    endif
endfunction

function! s:judge(case) abort
    let l:wrong = []
    for l:i in range(len(s:state.seen))
        let [l:own, l:native] = [s:state.seen[l:i], s:native[l:i]]
        if l:own[0] !=# l:native[0]
            call add(l:wrong, l:i . ' text ' . string(l:own[0]) . ' not '
                        \ . string(l:native[0]))
        elseif l:own[1] != l:native[1]
                    \ && (l:i == 0 || a:case[l:i % 2 ? 2 : 3])
            call add(l:wrong, l:i . ' cursor ' . string(l:own[1]) . ' not '
                        \ . string(l:native[1]))
        endif
    endfor
    call add(s:results, (empty(l:wrong) ? 'ok   ' : 'FAIL ')
                \ . strtrans(a:case[0] . a:case[1]) . ' ' . join(l:wrong, '; '))
endfunction

function! s:end() abort
    call writefile(s:results, s:dir . '/result.new')
    call rename(s:dir . '/result.new', s:dir . '/result')
    qall!
endfunction

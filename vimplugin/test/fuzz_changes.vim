" Random commands of many kinds: what the agent composed from the changes is
" the buffer, every time.  COVIM_COUNT commands (1500), COVIM_SEED.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')
set undolevels=1000 nofixendofline

let s:seed = empty($COVIM_SEED) ? localtime() % 100000 : str2nr($COVIM_SEED)
let s:count = empty($COVIM_COUNT) ? 1500 : str2nr($COVIM_COUNT)
let s:state = s:seed

function! s:rnd(n) abort
    let s:state = (s:state * 1103515245 + 12345) % 2147483648
    return (s:state / 65536) % a:n
endfunction

function! s:word() abort
    return ['alpha', 'beta gamma', 'é日本', 'x', '😀 y', '', 'delta alpha delta',
                \ "if (x) {", '  indented alpha'][s:rnd(9)]
endfunction

function! s:line() abort
    return s:rnd(line('$')) + 1
endfunction

" Two lines in order, and one of them.
function! s:range() abort
    let l:a = s:line()
    return l:a . ',' . min([line('$'), l:a + s:rnd(6)])
endfunction

let s:file = tempname()
call writefile(['from a file', 'é two', '', 'three'], s:file)
let s:small = tempname()
call writefile(['line ' , 'alpha'], s:small)

" Each is typed with feedkeys() or run as a command; the words in {} are
" drawn anew each time.
let s:kinds = [
            \ ['keys', 'i{w}{esc}'], ['keys', 'A{w}{esc}'], ['keys', 'o{w}{esc}'],
            \ ['keys', 'O{w}{esc}'], ['keys', 'dd'], ['keys', '3dd'],
            \ ['keys', 'J'], ['keys', '4J'], ['keys', 'x'], ['keys', 'D'],
            \ ['keys', 'cw{w}{esc}'], ['keys', 'u'], ['keys', '3u'],
            \ ['keys', '{c-r}'], ['keys', 'yyp'], ['keys', 'yy3P'],
            \ ['keys', 'ddp'], ['keys', '.'], ['keys', '>>'], ['keys', '2<<'],
            \ ['keys', 'gqip'], ['keys', 'gUU'], ['keys', 'R{w}{esc}'],
            \ ['keys', '5i{w}{esc}'], ['keys', 'v2jd'], ['keys', 'Vjc{w}{esc}'],
            \ ['keys', '{c-v}2jI{w}{esc}'], ['keys', '{c-v}2j$A{w}{esc}'],
            \ ['keys', '{c-v}2jd'], ['keys', 'qqA{w}{esc}jq2@q'],
            \ ['keys', 'i{w}{cr}{w}{bs}{bs}{cr}{esc}'], ['keys', 'ggdG'],
            \ ['keys', 'g-'], ['keys', 'g+'], ['keys', '{c-a}'], ['keys', '==' ],
            \ ['keys', 'i{w} {c-n}{c-n}{esc}'], ['keys', '!jsort{cr}'],
            \ ['ex', '{r}s/a/{w}/ge'], ['ex', '%s/alpha/A\rB/e'],
            \ ['ex', '{r}s/\n//e'], ['ex', 'g/alpha/d'], ['ex', 'g/x/m0'],
            \ ['ex', 'g/beta/t.'], ['ex', 'v/a/s/$/ {w}/'],
            \ ['ex', '{r}m{l}'], ['ex', '{r}t{l}'], ['ex', '{r}sort'],
            \ ['ex', '{r}d'], ['ex', '{r}!cat -n'], ['ex', '{l}r {file}'],
            \ ['ex', '{r}j'], ['ex', '{r}>'], ['ex', 'earlier 2'],
            \ ['ex', 'later 1'], ['ex', '{r}normal! A{w}'], ['ex', '%d|put={q}'],
            \ ['ex', 'put ={q}'], ['ex', 'call setline({l}, {q})'],
            \ ['ex', 'call append({l}, [{q}, {q}])'], ['ex', 'undo 0'],
            \ ['ex', '{r}left'], ['ex', '{r}retab!'], ['ex', 'g/a/j'],
            \ ['ex', 'e!'], ['ex', 'silent! undo {l}']]

function! s:command(pattern) abort
    let l:p = a:pattern
    while l:p =~# '{[a-z-]\+}'
        let l:what = matchstr(l:p, '{\zs[a-z-]\+\ze}')
        let l:by = {'w': s:word(), 'q': string(s:word()), 'l': s:line(),
                    \ 'r': s:range(), 'esc': "\<Esc>", 'cr': "\<CR>",
                    \ 'bs': "\<BS>", 'c-v': "\<C-v>", 'c-r': "\<C-r>",
                    \ 'c-n': "\<C-n>", 'c-a': "\<C-a>",
                    \ 'file': fnameescape(s:file)}[l:what]
        let l:p = substitute(l:p, '{' . l:what . '}', '\=l:by', '')
    endwhile
    return l:p
endfunction

function! Test_every_change_is_reported() abort
    execute 'edit' fnameescape(s:small)
    call Share(map(range(1, 30), '"line " . v:val . " alpha x beta"'))
    let l:misses = 0
    let l:used = {}
    for l:i in range(s:count)
        let [l:kind, l:pattern] = s:kinds[s:rnd(len(s:kinds))]
        if line('$') > 400
            let [l:kind, l:pattern] = ['ex', '{r}d']
            call cursor(1, 1)
        endif
        let l:used[l:pattern] = 1
        call cursor(s:line(), s:rnd(12) + 1)
        let l:text = s:command(l:pattern)
        try
            if l:kind ==# 'keys'
                call feedkeys(l:text, 'xt')
            else
                execute 'silent' l:text
            endif
        catch
            " Patterns that match nothing, undo at its end: part of the game.
        endtry
        if line('$') == 1 && getline(1) ==# '' && s:rnd(3)
            call setline(1, map(range(1, 12), '"again " . v:val . " alpha"'))
        endif
        if s:rnd(3)
            let l:got = Agent().lines
            if l:got !=# getline(1, '$')
                let l:misses += 1
                call add(v:errors, printf('seed %d, step %d, %s %s: agent %s'
                            \ . ' buffer %s', s:seed, l:i, l:kind,
                            \ strtrans(l:text), string(l:got[:20]),
                            \ string(getline(1, 21))))
                break
            endif
        endif
    endfor
    call assert_equal(getline(1, '$'), Agent().lines)
    call assert_equal(0, covim#doc#stats().odd)
    if s:count >= 1500
        call assert_equal(len(s:kinds), len(l:used))
    endif
endfunction

call RunTests()

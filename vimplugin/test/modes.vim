" In the middle of a command of the user an edit of somebody else arrives:
" the command does what it would have done, to the text that was meant.  Runs
" in a terminal (tests/e2e/vim_modes.sh), for only there Vim waits for keys.
unlet g:covim_apply_always
set ttimeout ttimeoutlen=5 shortmess+=I noswapfile nomore nofixendofline
set incsearch scrolloff=0 complete=. completeopt=menu,menuone

" [name, keys, edits, keys, lines, cursor line, cursor column (from 1)];
" the text is six lines, 'one two' … 'eleven twelve', the cursor on line 3.
let s:text = ['one two', 'three four', 'five six', 'seven eight', 'nine ten',
            \ 'eleven twelve']
let s:above = [[[1, 0, 1, 0], "NEW\n"]]
let s:cases = [
            \ ['normal, line above', '3G3|', s:above, '', ['NEW'] + s:text, 4, 3],
            \ ['normal, same line before', '3G3|', [[[3, 0, 3, 0], 'éé']], 'x',
            \  s:text[:1] + ['éé' . 'fie six'] + s:text[3:], 3, 7],
            \ ['normal, deletion around the cursor', '3G3|', [[[2, 3, 4, 2], '']],
            \  '', ['one two', 'thrven eight', 'nine ten', 'eleven twelve'], 2, 4],
            \ ['insert, line above', '3GiA', s:above, "B\<Esc>",
            \  ['NEW', 'one two', 'three four', 'ABfive six'] + s:text[3:], 4, 2],
            \ ['insert, before on the line', '3GeiA', [[[3, 0, 3, 0], 'Z ']],
            \  "B\<Esc>", s:text[:1] + ['Z fivABe six'] + s:text[3:], 3, 7],
            \ ['insert, at the cursor', '3GA', [[[3, 8, 3, 8], 'zz']],
            \  "me\<Esc>", s:text[:1] + ['five sixmezz'] + s:text[3:], 3, 10],
            \ ['insert, backspace after it', '3GiABC', s:above, "\<BS>\<BS>D\<Esc>",
            \  ['NEW', 'one two', 'three four', 'ADfive six'] + s:text[3:], 4, 2],
            \ ['operator pending', '2Gwd', [[[2, 0, 2, 0], "NEW\n"]], 'w',
            \  ['one two', 'NEW', 'three '] + s:text[2:], 3, 6],
            \ ['count and register', '3G"a', s:above, 'yyG"ap',
            \  ['NEW'] + s:text + ['five six'], 8, 1],
            \ ['find', '3Gf', s:above, 'sx',
            \  ['NEW', 'one two', 'three four', 'five ix'] + s:text[3:], 4, 6],
            \ ['visual lines', '3GVj', s:above, 'd',
            \  ['NEW', 'one two', 'three four', 'nine ten', 'eleven twelve'], 4, 1],
            \ ['visual lines, deletion above', '4GVj', [[[1, 0, 3, 0], '']], 'd',
            \  ['five six', 'eleven twelve'], 2, 1],
            \ ['visual lines, the end deleted', '5GVj', [[[2, 10, 6, 13], '']],
            \  'd', ['one two'], 1, -1],
            \ ['visual characters', '3G2|vw', [[[3, 0, 3, 0], 'ZZZ']], 'd',
            \  s:text[:1] + ['ZZZf' . 'ix'] + s:text[3:], 3, 5],
            \ ['visual, anchor at the end', '3G2|vwo', [[[3, 0, 3, 0], 'ZZZ']], 'd',
            \  s:text[:1] + ['ZZZf' . 'ix'] + s:text[3:], 3, 5],
            \ ['visual block', "3G2|\<C-v>jl", s:above, 'd',
            \  ['NEW', 'one two', 'three four', 'fe six', 'sen eight',
            \   'nine ten', 'eleven twelve'], 4, 2],
            \ ['visual block to the line ends', "3G2|\<C-v>j$", s:above, 'd',
            \  ['NEW', 'one two', 'three four', 'f', 's', 'nine ten',
            \   'eleven twelve'], 4, 1],
            \ ['visual block insert', "3G\<C-v>jI# ", s:above, "\<Esc>",
            \  ['NEW', 'one two', 'three four', '# five six', '# seven eight',
            \   'nine ten', 'eleven twelve'], 4, 1],
            \ ['visual block append', "3G\<C-v>j$A#", s:above, "\<Esc>",
            \  ['NEW', 'one two', 'three four', 'five six#', 'seven eight#',
            \   'nine ten', 'eleven twelve'], 4, -1],
            \ ['visual block change', "3G\<C-v>jcX", s:above, "\<Esc>",
            \  ['NEW', 'one two', 'three four', 'Xive six', 'Xeven eight',
            \   'nine ten', 'eleven twelve'], 4, 1],
            \ ['select mode', '3Ggh', s:above, "Q\<Esc>",
            \  ['NEW', 'one two', 'three four', 'Qive six'] + s:text[3:], 4, 1],
            \ ['command line', '3G:s/five/5/', s:above, "\<CR>",
            \  ['NEW', 'one two', 'three four', '5 six'] + s:text[3:], 4, 1],
            \ ['search', '1G/nine', s:above, "\<CR>x",
            \  ['NEW'] + s:text[:3] + ['ine ten', 'eleven twelve'], 6, 1],
            \ ['substitute prompt', ":%s/e/E/gc\<CR>y", s:above, "nq",
            \  ['NEW', 'onE two'] + s:text[1:], -1, -1],
            \ ['completion menu, same line', "3Gox\<CR>el\<C-n>",
            \  [[[5, 0, 5, 0], 'ZZ ']], "\<C-n>\<C-y>\<Esc>",
            \  s:text[:2] + ['x', 'ZZ el'] + s:text[3:], 5, -1],
            \ ['replace mode', '3GRxy', [[[3, 0, 3, 0], 'ZZ']], "z\<BS>\<Esc>",
            \  s:text[:1] + ['ZZxyve six'] + s:text[3:], 3, -1],
            \ ['macro recording', '3Gqqx', s:above, 'jq@q',
            \  ['NEW', 'one two', 'three four', 'ive six', 'even eight']
            \  + s:text[4:], 6, 1],
            \ ['macro recording of an insert', '3GqqAab', s:above,
            \  "c\<Esc>qj@q", ['NEW', 'one two', 'three four', 'five sixabc',
            \   'seven eightabc'] + s:text[4:], 5, -1],
            \ ['count insert', '3G3iab', s:above, "c\<Esc>",
            \  ['NEW', 'one two', 'three four', 'abcabcabcfive six']
            \  + s:text[3:], 4, 9],
            \ ['dot repeat', "3Gcw55\<Esc>", s:above, 'j0.',
            \  ['NEW', 'one two', 'three four', '55 six', '55 eight']
            \  + s:text[4:], 5, 2],
            \ ['change word typing', '3Gcw5', s:above, "5\<Esc>j0.",
            \  ['NEW', 'one two', 'three four', '55 six', '55 eight']
            \  + s:text[4:], 5, 2],
            \ ['undo takes one''s own', "3Gxx", [[[5, 0, 5, 0], 'Z']], 'uu',
            \  s:text[:1] + ['ive six'] + s:text[3:], -1, -1],
            \ ['undo of what was typed after it', '3GAab', s:above,
            \  "c\<CR>d\<Esc>u", ['NEW', 'one two', 'three four', 'five sixab']
            \  + s:text[3:], -1, -1],
            \ ['undo of what was typed around it', '3GAab', s:above,
            \  "c\<CR>d\<Esc>uuu", s:text, -1, -1],
            \ ['undo and redo around it', '3GAab', [[[3, 0, 3, 0], 'Z']],
            \  "cd\<Esc>uuu\<C-r>\<C-r>\<C-r>", s:text[:1]
            \  + ['Zfive sixabcd'] + s:text[3:], -1, -1],
            \ ['dot repeat of an insert around it', '3GAab', s:above,
            \  "cd\<Esc>j.", ['NEW', 'one two', 'three four', 'five sixabcd',
            \   'seven eightabcd'] + s:text[4:], -1, -1],
            \ ['CTRL-V', "3Gi\<C-v>", s:above, "u0042c\<Esc>",
            \  ['NEW', 'one two', 'three four', 'Bcfive six'] + s:text[3:],
            \  -1, -1],
            \ ['CTRL-K', "3Gi\<C-k>", s:above, "e:c\<Esc>",
            \  ['NEW', 'one two', 'three four', 'ëcfive six'] + s:text[3:],
            \  -1, -1],
            \ ['CTRL-O', "3Gi\<C-o>", s:above, "x\<Esc>",
            \  ['NEW', 'one two', 'three four', 'ive six'] + s:text[3:],
            \  -1, -1],
            \ ['CTRL-W', "3Giab cd", s:above, "\<C-w>\<C-w>x\<Esc>",
            \  ['NEW', 'one two', 'three four', 'xfive six'] + s:text[3:],
            \  -1, -1],
            \ ['mark', '3Gma1G', s:above, "'ax",
            \  ['NEW', 'one two', 'three four', 'ive six'] + s:text[3:], 4, 1],
            \ ['getchar of a plugin', '3G:call AddMark()' . "\<CR>", s:above, '!',
            \  ['NEW', 'one two', 'three four', '! five six'] + s:text[3:], -1, -1],
            \ ]

" A plugin that keeps a line number while it waits for a key.
function! AddMark() abort
    let l:lnum = line('.')
    let l:text = getline(l:lnum)
    let l:char = nr2char(getchar())
    call setline(l:lnum, l:char . ' ' . l:text)
endfunction

let s:failed = []
let s:passed = 0
let s:at = 0
let s:pause = 10

function! ModesStart(dir) abort
    let s:dir = a:dir
    if has('nvim')
        " While Neovim waits for the character of `f` or of CTRL-V, or at this
        " prompt, no timer runs: nothing can arrive, nor this script go on.
        call filter(s:cases, 'v:val[0] !~# "find\\|substitute prompt\\|CTRL-[VK]"')
    endif
    if !empty($COVIM_ONLY)
        call filter(s:cases, 'v:val[0] =~# $COVIM_ONLY')
    endif
    call timer_start(10, function('s:begin'))
endfunction

function! s:begin(timer) abort
    if s:at == len(s:cases)
        let l:lines = map(copy(s:failed), '"FAIL " . v:val')
                    \ + [s:passed . ' of ' . len(s:cases) . ' passed']
        call writefile(l:lines, s:dir . '/tmp')
        call rename(s:dir . '/tmp', s:dir . '/result')
        qall!
        return
    endif
    silent! only
    enew!
    call setline(1, s:text)
    let s:buf = bufnr('%')
    CoVim share --open
    call timer_start(10, function('s:wait_live'))
endfunction

function! s:wait_live(timer) abort
    let s:doc = covim#doc#get(s:buf)
    if s:doc.state !=# 'live'
        call timer_start(10, function('s:wait_live'))
        return
    endif
    call feedkeys(s:cases[s:at][1], 't')
    call timer_start(s:pause, function('s:remote'))
endfunction

function! s:remote(timer) abort
    for [l:range, l:text] in s:cases[s:at][2]
        call covim#rpc#request('test/edit', {'doc': s:doc.doc,
                    \ 'range': l:range, 'text': l:text}, {e, r -> 0})
    endfor
    let s:tries = 0
    call timer_start(s:pause, function('s:more'))
endfunction

" Goes on when the edit has been applied, or has come and waits.
function! s:more(timer) abort
    let s:tries += 1
    if s:doc.rev == 0 && empty(s:doc.queue) && s:tries < 300
        call timer_start(s:pause, function('s:more'))
        return
    endif
    call feedkeys(s:cases[s:at][3], 't')
    call timer_start(s:pause, function('s:finish'))
endfunction

function! s:finish(timer) abort
    call feedkeys("\<C-\>\<C-n>", 't')
    let s:tries = 0
    call timer_start(s:pause, function('s:ask'))
endfunction

function! s:ask(timer) abort
    call covim#rpc#request('test/text', {'doc': s:doc.doc},
                \ function('s:compare'))
endfunction

function! s:compare(error, result) abort
    let s:tries += 1
    if (a:result.unacked || !empty(s:doc.queue) || s:doc.dirty
                \ || a:result.erev != s:doc.erev) && s:tries < 300
        call timer_start(s:pause, function('s:ask'))
        return
    endif
    let [l:name, l:k1, l:edits, l:k2, l:lines, l:lnum, l:col] = s:cases[s:at]
    let l:is = getbufline(s:buf, 1, '$')
    let l:before = len(s:failed)
    if l:is !=# l:lines
        call add(s:failed, l:name . ': ' . string(l:is))
    elseif l:is !=# a:result.truth
        call add(s:failed, l:name . ': agent has ' . string(a:result.truth))
    elseif l:lnum > 0 && line('.') != l:lnum || l:col > 0 && col('.') != l:col
        call add(s:failed, l:name . ': cursor at ' . line('.') . ', ' . col('.'))
    endif
    let s:passed += len(s:failed) == l:before
    let s:at += 1
    CoVim leave
    call timer_start(10, function('s:begin'))
endfunction

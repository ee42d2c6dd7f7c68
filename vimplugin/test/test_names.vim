" Names, paths and text of other people are only ever text.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')

let s:dir = tempname()
call mkdir(s:dir)
execute 'cd' fnameescape(s:dir)

" Each would leave a file `pwned` if it were run anywhere.
let s:hostile = ['`touch pwned`', '$(touch pwned)', "x | call writefile([], 'pwned') |",
            \ '%{writefile([], "pwned")}', '%{%writefile([], "pwned")%}',
            \ "x\<CR>:call writefile([], 'pwned')\<CR>", "\e]0;title\x07", "\e[2J",
            \ "'; touch pwned; '", '# % #1 <cfile> <sfile> `=writefile([], "pwned")`',
            \ '`=writefile([], "pwned")`', '\\', '+call\ writefile([],"pwned")',
            \ "\<C-r>=writefile([], 'pwned')\<CR>", '%#Error#', "a\nb", "a\x01b",
            \ repeat('long', 1000), '', '日本語', "\u202eevil", '~root', '$HOME', '*?[a]{b,c}']

function! s:nothing_ran() abort
    call assert_equal([], glob(s:dir . '/*', 1, 1))
endfunction

function! Test_clean_leaves_one_printable_line() abort
    for l:name in s:hostile
        let l:clean = covim#clean(l:name, 32)
        call assert_notmatch('[[:cntrl:]]', l:clean)
        call assert_true(strdisplaywidth(l:clean) <= 32, l:clean)
    endfor
    call assert_equal('日本語', covim#clean('日本語', 32))
    call assert_equal('日…', covim#clean('日本語', 3))
    call assert_equal('^[]0;title^G', covim#clean("\e]0;title\x07", 32))
    call assert_equal('7', covim#clean(7, 32))
endfunction

function! Test_paths_stay_below_the_root() abort
    for [l:path, l:safe] in [['../../etc/passwd', 'etc/passwd'], ['/etc/passwd', 'etc/passwd'],
                \ ['a/../../b', 'a/b'], ['./a//b/', 'a/b'], ['..', 'untitled'], ['', 'untitled'],
                \ ['.vimrc', '_vimrc'], ['-rf', '_rf'], ['~/x', '_/x'], ['a b', 'a_b'],
                \ ['src/main.c', 'src/main.c'], ['日本/é.txt', '日本/é.txt'],
                \ ['C:\x', 'C__x'], [7, 'untitled'], ["a\nb", 'a_b']]
        call assert_equal(l:safe, covim#safe_path(l:path))
    endfor
    for l:name in s:hostile
        let l:safe = covim#safe_path(l:name)
        call assert_notmatch('[^[:alnum:]._+@,=/-]', substitute(l:safe, '[^\x00-\x7f]', '', 'g'))
        call assert_notmatch('\%(^\|/\)\.\.\=\%(/\|$\)\|^/', l:safe)
        call assert_true(len(l:safe) < 1000)
    endfor
endfunction

function! Test_hostile_paths_and_filetypes_of_joined_text() abort
    let l:count = 0
    for l:path in s:hostile + ['../../x', '/etc/passwd']
        let l:count += 1
        call Ask('test/doc', {'path': l:path, 'lines': ['text'], 'ft': l:path, 'ff': l:path})
        execute 'CoVim join covim1abcdefgh' . l:count
        call WaitFor('bufname("%") =~# "^covim://abcdefgh/" && !empty(Doc())')
        call assert_equal('text', getline(1))
        silent! write
        CoVim peers
        close
        CoVim status
        sleep 5m
        close
        call assert_equal('unix', &fileformat)
        CoVim leave
        only
        enew
    endfor
    call s:nothing_ran()
endfunction

function! Test_hostile_names() abort
    call Share(['x'])
    let l:d = Doc()
    set statusline=%f\ %{covim#statusline()} laststatus=2 title
    for l:name in s:hostile
        call covim#dispatch('knock', {'session': l:d.session, 'id': l:name,
                    \ 'name': l:name, 'fingerprint': l:name, 'wants': l:name})
        call covim#dispatch('peer', {'session': l:d.session, 'id': 9, 'state': 'joined',
                    \ 'name': l:name, 'fingerprint': l:name, 'role': l:name, 'path': l:name, 'rtt_ms': l:name})
        call covim#dispatch('session', {'session': l:d.session, 'state': l:name, 'stage': l:name,
                    \ 'hint': l:name, 'elapsed_ms': l:name})
        call covim#dispatch('notice', {'level': l:name, 'text': l:name, 'tag': l:name})
        call covim#dispatch('presence', {'doc': l:d.doc, 'epoch': l:d.epoch, 'erev': 0,
                    \ 'peers': [{'peer': 9, 'name': l:name, 'colour': l:name, 'mode': l:name,
                    \ 'ranges': [[1, 0, 1, 0]]}]})
        call covim#dispatch(l:name, {'doc': l:name})
        redraw!
        redrawstatus!
        let l:line = covim#statusline()
        call assert_notmatch('[[:cntrl:]%]', l:line)
        call covim#command#complete('', 'CoVim accept ', 13)
        CoVim peers
        call assert_notmatch('[[:cntrl:]]', join(getline(1, '$')))
        close
        CoVim log
        call assert_notmatch('[[:cntrl:]]', join(getline(1, '$')))
        close
        CoVim reject
        silent! execute 'CoVim accept ' . substitute(l:name, "\n", ' ', 'g')
        call covim#dispatch('peer', {'session': l:d.session, 'id': 9, 'state': 'left'})
    endfor
    set statusline& laststatus& notitle
    call s:nothing_ran()
endfunction

function! s:hear(msg) abort
    call covim#rpc#on_line(covim#rpc#generation(), json_encode(a:msg))
endfunction

function! Test_messages_that_are_not_what_they_should_be() abort
    for l:line in ['', '{', 'x', '{"method":', "\x80", '{"method": "edit"} more']
        call covim#rpc#on_line(covim#rpc#generation(), l:line)
    endfor
    call Share(['x'])
    let l:d = Doc()
    for l:value in [[], {}, 'x', 7, 0.5, v:null, v:true, [[]], -1]
        for l:method in ['doc', 'edit', 'eol', 'resync', 'kept', 'presence', 'peer', 'knock',
                    \ 'session', 'role', 'notice']
            for l:key in ['session', 'doc', 'epoch', 'erev', 'range', 'text', 'lines', 'peers', 'id',
                        \ 'name', 'state', 'rtt_ms', 'role', 'path', 'shared', 'eol', 'stage', 'hint', 'tag']
                let l:msg = {'session': l:d.session, 'doc': l:d.doc, 'epoch': l:d.epoch, 'erev': l:d.erev}
                let l:msg[l:key] = l:value
                call s:hear({'method': l:method, 'params': l:msg})
            endfor
        endfor
        call s:hear(l:value)
        call s:hear({'method': l:value, 'params': l:value})
        call s:hear({'id': l:value, 'result': l:value})
        call s:hear({'id': 1, 'result': l:value, 'error': l:value})
    endfor
    call assert_notmatch('internal error', Log())
    call covim#dispatch('role', {'doc': l:d.doc, 'role': 'editor'})
    " Still of use.
    call setline(1, 'fine')
    call assert_equal(['fine'], getline(1, '$'))
endfunction

function! Test_modelines_of_others_do_nothing() abort
    set modeline modelines=5
    let l:file = s:dir . '/shared.txt'
    call writefile(['one'], l:file)
    execute 'edit' fnameescape(l:file)
    CoVim share
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    call Remote([1, 3, 1, 3], "\nvim: set ts=3 fdm=expr fde=writefile([],'pwned'):")
    write
    edit!
    call assert_equal(8, &tabstop)
    call assert_equal('manual', &foldmethod)
    call assert_equal(2, line('$'))
    CoVim leave
    bwipeout!
    call delete(l:file)
    call s:nothing_ran()
    set nomodeline
endfunction

call RunTests()

" The help has a tag for every command, setting, mapping, event and colour
" that the code has, and no tag twice.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')
let s:root = expand('<sfile>:p:h:h')

function! s:code() abort
    let l:lines = []
    for l:file in glob(s:root . '/plugin/*.vim', 1, 1)
                \ + glob(s:root . '/autoload/**/*.vim', 1, 1)
                \ + glob(s:root . '/lua/**/*.lua', 1, 1)
        let l:lines += readfile(l:file)
    endfor
    return l:lines
endfunction

function! s:tags() abort
    let l:dir = tempname()
    call mkdir(l:dir)
    call writefile(readfile(s:root . '/doc/covim.txt'), l:dir . '/covim.txt')
    execute 'helptags' fnameescape(l:dir)
    let l:tags = map(readfile(l:dir . '/tags'), 'split(v:val, "\t")[0]')
    call delete(l:dir, 'rf')
    return l:tags
endfunction

function! s:found(pattern) abort
    let l:found = {}
    for l:line in s:code()
        let l:at = 0
        while 1
            let [l:text, l:from, l:at] = matchstrpos(l:line, a:pattern, l:at)
            if l:from < 0
                break
            endif
            let l:found[l:text] = 1
        endwhile
    endfor
    return sort(keys(l:found))
endfunction

function! Test_every_command_is_in_the_help() abort
    let l:tags = s:tags()
    let l:commands = s:found('^function! s:commands\.\zs\w\+')
    call assert_true(len(l:commands) >= 9, string(l:commands))
    for l:name in l:commands + ['disconnect']
        call assert_true(index(l:tags, ':CoVim-' . l:name) >= 0, l:name)
    endfor
    call assert_equal(l:commands, filter(covim#command#complete('', 'CoVim ', 6), 'v:val !=# "disconnect"'))
endfunction

function! Test_every_setting_and_event_is_in_the_help() abort
    let l:tags = s:tags()
    let l:names = map(s:found('g:covim_\zs\w\+'), '"g:covim_" . v:val')
                \ + map(s:found('get(g:, ''covim_\zs\w\+'), '"g:covim_" . v:val')
                \ + ['g:covim_bootstrap', 'g:covim_stun', 'g:covim_gate', 'b:covim', 'covim#statusline()']
                \ + s:found('<Plug>([a-z-]\+)')
    call filter(l:names, 'v:val !~# "^g:covim_\\%(nvim_\\w*\\)\\=$"')
    let l:events = s:found('event(''\zs\w\+') + ['CoVimLeft', 'CoVimJoined', 'CoVimPeer']
    call assert_true(len(l:names) > 15)
    for l:name in l:names + l:events
        call assert_true(index(l:tags, l:name) >= 0, l:name)
    endfor
    " And nothing is described that is not there.
    let l:code = join(s:code(), "\n")
    for l:tag in filter(copy(l:tags), 'v:val =~# "^g:covim_"')
        call assert_true(l:code =~# matchstr(l:tag, 'covim_\w*')
                    \ || l:tag =~# 'bootstrap\|stun\|gate', l:tag)
    endfor
endfunction

function! Test_references_lead_somewhere() abort
    let l:tags = s:tags()
    call assert_equal(len(l:tags), len(uniq(sort(copy(l:tags)))))
    let l:text = join(readfile(s:root . '/doc/covim.txt'), "\n")
    let l:at = 0
    while 1
        let [l:ref, l:from, l:at] = matchstrpos(l:text, '|\zs[^| \t\n]\+\ze|', l:at)
        if l:from < 0
            break
        endif
        if l:ref =~? 'covim'
            call assert_true(index(l:tags, l:ref) >= 0, l:ref)
        endif
    endwhile
    " Messages and notices send people to tags that exist.
    for l:ref in s:found(':help \zs\%(:CoVim\|g\=:\=[a-z_-]*covim[a-z_-]*\)')
        if l:ref !=# 'covim-'
            call assert_true(index(l:tags, l:ref) >= 0, l:ref)
        endif
    endfor
    for l:line in readfile(s:root . '/doc/covim.txt')
        call assert_true(strdisplaywidth(l:line) <= 79, l:line)
    endfor
endfunction

function! Test_the_plugin_only_defines_commands() abort
    call assert_true(len(readfile(s:root . '/plugin/covim.vim')) < 100)
    call assert_equal(2, exists(':CoVim'))
    call assert_equal('', covim#rpc#state())
endfunction

call RunTests()

" :CoVim doctor: the report in a window, without waiting for it.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')
let s:root = expand('<sfile>:p:h:h:h')

function! s:window() abort
    return getbufline('^covim-doctor$', 1, '$')
endfunction

function! s:answer(result) abort
    call Ask('test/answer', {'method': 'doctor', 'result': a:result})
endfunction

function! Test_the_report_is_shown() abort
    call setline(1, 'a')
    CoVim share
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    call s:answer({'worst': 'note', 'findings': [],
                \ 'lines': ['ok       nat  none', "evil \e]0;x\x07", 7, 'last']})
    let l:key = b:covim.key
    CoVim doctor
    call WaitFor('getbufline("^covim-doctor$", 1)[0] =~# "nat  none"')
    call assert_equal(3, len(s:window()))
    call assert_equal('last', s:window()[2])
    call assert_notmatch('[[:cntrl:]]', join(s:window()))
    let l:sent = Logged('doctor')[0][1]
    call assert_equal(v:false, l:sent.addresses)
    call assert_false(has_key(l:sent, 'key'))
    call assert_match('^n\=vim', l:sent.editor.name)
    call assert_equal(covim#doctor#version(), l:sent.editor.plugin)
    close
    execute 'CoVim! doctor' l:key
    call WaitFor('!empty(Logged("doctor"))')
    call WaitFor('getbufline("^covim-doctor$", 1)[0] =~# "nat  none"')
    close
endfunction

function! Test_key_and_addresses_are_passed_on() abort
    call setline(1, 'a')
    CoVim share
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    call s:answer({'lines': ['done']})
    CoVim! doctor covim1abcdef
    call WaitFor('getbufline("^covim-doctor$", 1)[0] ==# "done"')
    let l:sent = Logged('doctor')[0][1]
    call assert_equal([v:true, 'covim1abcdef'], [l:sent.addresses, l:sent.key])
    close
    call assert_match('one key at most', join(Say('CoVim doctor a b')))
endfunction

function! Test_one_edits_on_meanwhile() abort
    call setline(1, 'a')
    CoVim share
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    let l:win = win_getid()
    " News that nobody waits for opens nothing.
    call covim#dispatch('doctor', {'waiting': 'nobody asked'})
    call assert_equal([], s:window())
    CoVim doctor
    call assert_match('The doctor looks', s:window()[0])
    call covim#dispatch('doctor', {'waiting': "the\nDHT"})
    call WaitFor('!empty(getbufline("^covim-doctor$", 1, "$"))')
    call win_gotoid(l:win)
    call setline(1, 'b')
    call assert_equal('b', getline(1))
endfunction

function! Test_the_versions_are_one() abort
    let l:cmake = join(readfile(s:root . '/CMakeLists.txt'))
    call assert_equal(matchstr(l:cmake, 'project(covim VERSION \zs[0-9.]\+'),
                \ covim#doctor#version())
endfunction

call RunTests()

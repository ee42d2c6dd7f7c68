" Going on with a session that is stored.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')

function! s:stored(...) abort
    call Ask('test/answer', {'method': 'stored', 'result': {'sessions': a:000}})
endfunction

" One that was used so many seconds ago.
function! s:item(key, path, ago, ...) abort
    return {'key': a:key, 'path': a:path, 'role': a:0 ? 'viewer' : 'host',
                \ 'mine': a:0 ? v:false : v:true, 'used': localtime() - a:ago}
endfunction

let s:a = 'covim1aaaaaaaaaa'
let s:b = 'covim1bbbbbbbbbb'
let s:c = 'covim1cccccccccc'

function! s:three() abort
    call s:stored(s:item(s:a, 'src/main.c', 30), s:item(s:b, 'notes.txt', 7300, 1),
                \ s:item(s:c, 'src/main.c', 200000))
endfunction

function! Test_the_last_one_is_gone_on_with() abort
    call setline(1, 'mine, not saved')
    call s:three()
    call Ask('test/doc', {'path': 'src/main.c', 'lines': ['stored']})
    CoVim resume
    call WaitFor('bufname("%") =~# "^covim://"')
    call assert_equal('covim://aaaaaaaa/src/main.c', bufname('%'))
    call assert_equal(['stored'], getline(1, '$'))
    call assert_equal([s:a], map(Logged('join'), 'v:val[1].key'))
    call assert_match('going on with src/main.c (just now)', Log())
    " The next one is the last that is not open.
    call Ask('test/doc', {'path': 'notes.txt', 'lines': ['other']})
    CoVim resume
    call WaitFor('bufname("%") ==# "covim://bbbbbbbb/notes.txt"')
    call assert_match('going on with notes.txt (2 h ago)', Log())
endfunction

function! Test_one_is_named_by_its_path_or_its_key() abort
    call s:three()
    for [l:name, l:keys] in [['notes.txt', [s:b]], ['main.c', [s:a]],
                \ ['src/main.c', [s:a]], ['cccccccc', [s:c]], [s:b, [s:b]],
                \ ['dddddddd', []], ['otes.txt', []]]
        execute 'CoVim resume' l:name
        call Ask('peers', {}) " it was answered, and the answer acted upon
        call assert_equal(l:keys, map(Logged('join'), 'v:val[1].key'), l:name)
        for l:s in covim#sessions()
            call covim#leave(l:s.session, 0)
        endfor
    endfor
    call assert_match('nothing is stored of dddddddd: :CoVim resume! lists', Log())
    call assert_match('takes one NAME', join(Say('CoVim resume a b')))
endfunction

function! Test_of_two_with_one_name_the_one_that_is_not_open_is_meant() abort
    call s:three()
    call Ask('test/doc', {'path': 'src/main.c', 'lines': ['x']})
    execute 'CoVim join' s:a
    call WaitFor('bufname("%") =~# "^covim://"')
    call Logged('join')
    CoVim resume src/main.c
    call Ask('peers', {})
    call assert_equal([s:c], map(Logged('join'), 'v:val[1].key'))
endfunction

function! Test_what_is_open_is_not_opened_again() abort
    call s:stored(s:item(s:a, 'a.txt', 5))
    call Ask('test/doc', {'path': 'a.txt', 'lines': ['x']})
    CoVim resume
    call WaitFor('bufname("%") =~# "^covim://"')
    CoVim resume
    call WaitFor('Log() =~# "every stored session is open here already"')
    CoVim resume a.txt
    call WaitFor('Log() =~# "covim: a.txt is open here already"')
    call assert_equal(1, len(covim#sessions()))
endfunction

function! Test_nothing_is_stored() abort
    call s:stored()
    CoVim resume
    call WaitFor('Log() =~# "nothing is stored yet: :CoVim share"')
    CoVim resume!
    call WaitFor('bufname("%") ==# "covim-stored"')
    call assert_equal(['nothing is stored yet'], getline(1, '$'))
    execute "normal \<CR>"
    call assert_equal([], covim#sessions())
    call Ask('test/refuse', {'method': 'stored', 'code': -32000,
                \ 'message': 'no', 'hint': 'try later'})
    CoVim resume
    call WaitFor('Log() =~# "resume: no (try later)"')
endfunction

function! Test_the_list() abort
    call s:three()
    call Ask('test/doc', {'path': 'notes.txt', 'lines': ['of b']})
    CoVim resume!
    call WaitFor('bufname("%") ==# "covim-stored"')
    call assert_equal(['just now          yours     aaaaaaaa      src/main.c',
                \ '2 h ago           viewer    bbbbbbbb      notes.txt'],
                \ getline(1, 2))
    call assert_match('^\d\{4}-\d\d-\d\d \d\d:\d\d  yours     cccccccc      src/main.c$',
                \ getline(3))
    2
    execute "normal \<CR>"
    call WaitFor('bufname("%") ==# "covim://bbbbbbbb/notes.txt"')
    call assert_equal(-1, bufwinnr('^covim-stored$'))
    CoVim resume!
    call WaitFor('bufname("%") ==# "covim-stored"')
    call assert_match('^2 h ago           viewer    open here     notes.txt$', getline(2))
    2
    execute "normal \<CR>"
    call assert_match('notes.txt is open here already', Log())
    call assert_equal(1, len(covim#sessions()))
endfunction

function! Test_what_the_agent_says_is_not_believed() abort
    call s:stored('x', {}, {'key': "covim1\e[31m", 'path': 'a'}, {'key': 5},
                \ {'key': s:a, 'path': "../../\e[31metc/pass wd", 'used': 'x', 'role': "\e"})
    CoVim resume!
    call WaitFor('bufname("%") ==# "covim-stored"')
    call assert_equal(['-                           aaaaaaaa      __31metc/pass_wd'],
                \ getline(1, '$'))
    quit
    call Ask('test/answer', {'method': 'stored', 'result': {'sessions': 'x'}})
    CoVim resume
    call WaitFor('Log() =~# "nothing is stored yet"')
endfunction

function! Test_names_are_completed() abort
    call assert_equal([], covim#command#complete('', 'CoVim resume ', 13))
    call s:three()
    CoVim resume!
    call WaitFor('bufname("%") ==# "covim-stored"')
    call assert_equal(['notes.txt', 'src/main.c'], covim#command#complete('', 'CoVim resume ', 13))
    call assert_equal(['src/main.c'], covim#command#complete('s', 'CoVim resume s', 14))
endfunction

call RunTests()

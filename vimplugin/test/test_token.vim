" The manual rendezvous: tokens are made, shown, taken, and told apart.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')

let s:host = 'covimhost1' . repeat('qpzry9x8', 111) . 'qpzry'
let s:guest = 'covimguest1' . repeat('gf2tvdw0', 123)
let s:key = 'covim1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0sg3sngf'

function! s:answers() abort
    call covim#rpc#start()
    call WaitFor('covim#rpc#state() ==# "ready"')
    call Ask('test/answer', {'method': 'token', 'result': {}})
    call Ask('test/answer', {'method': 'add', 'result': {}})
    call Ask('test/answer', {'method': 'connect', 'result':
                \ {'session': 77, 'key': s:key}})
endfunction

" As the agent does.
function! s:token(token) abort
    call covim#dispatch('token', {'session': 1, 'token': a:token,
                \ 'expires_s': 900, 'why': empty(a:token) ? 'no luck' : ''})
endfunction

function! s:window() abort
    return join(getbufline('^covim-token$', 1, '$'), "\n")
endfunction

function! Test_start_shares_and_asks_for_a_token() abort
    call setline(1, ['one'])
    call s:answers()
    call Ask('test/log', {})
    CoVim start 5000
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    let g:logged = []
    call WaitFor('!empty(extend(g:logged, Logged("token")))')
    call assert_equal(Doc().session, g:logged[0][1].session)
    " Again: the buffer is shared already.
    CoVim host
    let g:logged = []
    call WaitFor('!empty(extend(g:logged, Logged("token")))')
    call s:token(s:host)
    call assert_match('connect TOKEN', s:window())
    call assert_equal(s:host, substitute(s:window(), '^.\{-}\zecovimhost1\|\n', '', 'g'))
    call assert_notequal('covim-token', bufname('%'))
    call setreg('"', '')
    CoVim token
    call assert_equal(s:host, getreg('"'))
endfunction

function! Test_connect_takes_a_token_and_a_name() abort
    let l:name = g:covim_name
    call s:answers()
    call Ask('test/log', {})
    execute 'CoVim connect' s:host 'Bob Bee'
    let g:logged = []
    call WaitFor('!empty(extend(g:logged, Logged("connect")))')
    call assert_equal(s:host, g:logged[0][1].token)
    call assert_equal('Bob Bee', covim#name())
    call WaitFor('covim#session(77).key !=# ""')
    call s:token(s:guest)
    call assert_match('the host types', s:window())
    CoVim leave
    let g:covim_name = l:name
endfunction

function! Test_a_token_in_pieces_or_in_a_register_is_taken() abort
    call s:answers()
    call Ask('test/log', {})
    execute 'CoVim add' substitute(s:guest, '.\{70}', '& ', 'g')
    let g:logged = []
    call WaitFor('!empty(extend(g:logged, Logged("add")))')
    call assert_equal(s:guest, g:logged[0][1].token)
    call setreg('"', "  " . substitute(s:guest, '.\{60}', "&\n", 'g'))
    CoVim add
    let g:logged = []
    call WaitFor('!empty(extend(g:logged, Logged("add")))')
    call assert_equal(s:guest, g:logged[0][1].token)
endfunction

function! Test_what_is_no_token_is_refused_with_what_to_do() abort
    call setreg('"', 'something else')
    call assert_match('which token', join(Say('CoVim connect')))
    call assert_match('address alone', join(Say('CoVim connect 192.0.2.1 5000')))
    call assert_match('address alone', join(Say('CoVim connect example.org 5000')))
    call assert_match('address alone', join(Say('CoVim connect [2001:db8::1]:5000')))
    call assert_match('address alone', join(Say('CoVim connect otherhost 5000 Bob')))
    call assert_match('no session waits', join(Say('CoVim add ' . s:guest)))
    call assert_equal('', covim#rpc#state())
    call Say('call covim#dispatch("token", {"session": 1, "token": "", "why": "no luck"})')
    call assert_match('no luck', Log())
endfunction

function! Test_connect_with_a_key_joins() abort
    call s:answers()
    call Ask('test/log', {})
    execute 'CoVim connect 192.0.2.1 5000' s:key
    let g:logged = []
    call WaitFor('!empty(extend(g:logged, Logged("join")))')
    call assert_equal(s:key, g:logged[0][1].key)
endfunction

call RunTests()

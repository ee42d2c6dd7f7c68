" Sharing, joining, knocks, leaving, and an agent that dies.
execute 'source' fnameescape(expand('<sfile>:p:h') . '/setup.vim')

function! s:notify(method, params) abort
    call Ask('test/send', {'method': a:method, 'params': a:params})
endfunction

function! Test_nothing_runs_before_the_first_command() abort
    call assert_equal('', covim#rpc#state())
    call assert_equal('', covim#statusline())
    call assert_match('no session', Say('CoVim')[0])
    call assert_match('no session', Say('CoVim status')[0])
    call assert_equal('', covim#rpc#state())
endfunction

function! Test_share_prints_the_key_in_one_line() abort
    call setline(1, ['a', 'b'])
    call setreg('"', 'before')
    CoVim share
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    " Without a terminal it is a popup, in Neovim a message.
    call assert_match('\<covim1[a-z0-9]\{50,}\n', join(Popups()
                \ + split(execute('messages'), "\n"), "\n") . "\n")
    call assert_equal('before', getreg('"'))
    CoVim share!
    call assert_equal(b:covim.key, getreg('"'))
    call assert_match('^covim1', b:covim.key)
    let l:sent = Logged('share')[0][1]
    call assert_equal(['a', 'b'], l:sent.lines)
    call assert_equal(['ask', 'editor'], [l:sent.admission, l:sent.role])
    call assert_equal(v:true, l:sent.eol)
endfunction

function! Test_share_options() abort
    call setline(1, 'a')
    CoVim share --open --readonly
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    let l:sent = Logged('share')[0][1]
    call assert_equal(['open', 'viewer'], [l:sent.admission, l:sent.role])
    call assert_match('does not know --what', join(Say('enew | CoVim share --what')))
endfunction

function! Test_the_name_is_told_by_hello() abort
    let l:name = g:covim_name
    call setline(1, 'a')
    CoVim share --name Dora Explorer
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    call assert_equal('Dora Explorer', Logged('hello')[0][1].name)
    call assert_match('cannot change', join(Say('enew | CoVim join covim1x as Bob')))
    bprevious
    CoVim leave
    CoVim join covim1abcdefghijk as Bob Bee
    call WaitFor('bufname("%") =~# "^covim://"')
    call assert_equal('Bob Bee', Logged('hello')[-1][1].name)
    let g:covim_name = l:name
endfunction

function! Test_settings_reach_hello() abort
    let g:covim_bootstrap = 'a.example:4222, b.example:1'
    let g:covim_stun = ['c.example:3478']
    let g:covim_lan = 0
    let g:covim_port_mapping = 0
    let g:covim_birthday = 'gentle'
    let g:covim_log = 'debug'
    call Share(['x'])
    let l:sent = Logged('hello')[0][1]
    call assert_equal(['a.example:4222', 'b.example:1'], l:sent.bootstrap)
    call assert_equal(['c.example:3478'], l:sent.stun)
    call assert_equal(v:false, l:sent.lan)
    call assert_equal(v:false, l:sent.port_mapping)
    call assert_equal('gentle', l:sent.birthday)
    call assert_equal('debug', l:sent.log)
    call assert_equal(1, l:sent.protocol)
    unlet g:covim_bootstrap g:covim_stun g:covim_lan g:covim_log
    unlet g:covim_port_mapping g:covim_birthday
endfunction

function! Test_text_that_cannot_be_shared_is_refused() abort
    for [l:line, l:why] in [["a\nb", 'NUL'], ["a\xffb", 'UTF-8'],
                \ ["a\xc3", 'UTF-8'], ["\xed\xa0\x80", 'UTF-8']]
        enew!
        call setline(1, ['fine', l:line])
        call assert_match(l:why, join(Say('CoVim share')))
        call assert_equal({}, Doc())
    endfor
    call assert_equal('', covim#text#refusal(['aé日😀', '한국어 힣', "\ufffd\ue000\ud7ff"]))
    enew!
    let g:covim_max_bytes = 10
    call setline(1, repeat('x', 20))
    call assert_match('too large', join(Say('CoVim share')))
    unlet g:covim_max_bytes
    help
    call assert_match('only ordinary', join(Say('CoVim share')))
    call assert_equal('', covim#rpc#state())
endfunction

function! Test_bytes_that_are_no_text_are_replaced_while_sharing() abort
    call Share(['one', 'two'])
    call setline(2, "t\xffw\no")
    call append(2, "\xed\xa0\x80")
    let l:agent = Agent().lines
    call assert_equal(getline(1, '$'), l:agent)
    call assert_equal("t\ufffdw\ufffdo", getline(2))
    call assert_equal(['one', "t\ufffdw\ufffdo"], l:agent[:1])
    call assert_equal('', covim#text#refusal(getline(1, '$')))
endfunction

function! Test_a_program_that_is_not_there() abort
    let l:command = g:covim_command
    let g:covim_command = ['no-such-program-covim', 'agent']
    call setline(1, 'a')
    call assert_match('cannot run.*covim-install', join(Say('CoVim share')))
    call assert_equal({}, Doc())
    let g:covim_command = ['false']
    CoVim share
    call WaitFor('covim#rpc#state() ==# "" && empty(Doc())')
    call assert_match('share: the agent ended', Log())
    let g:covim_command = l:command
endfunction

function! Test_errors_of_the_agent_are_shown_with_their_hint() abort
    call Ask('test/refuse', {'method': 'join', 'code': -32001, 'message':
                \ "mistyped at character 7\e[31m", 'hint': 'copy it again'})
    CoVim join covim1wrong
    call WaitFor('Log() =~# "mistyped"')
    call assert_match('character 7^\[\[31m (copy it again)', Log())
    call assert_equal([], covim#sessions())
    call assert_match('which key', join(Say('CoVim join')))
    call assert_match('no such command: frobnicate', join(Say('CoVim frobnicate')))
endfunction

function! Test_join_opens_a_buffer_of_its_own() abort
    call setline(1, 'mine, not saved')
    let l:mine = bufnr('%')
    call Ask('test/doc', {'path': 'src/main.c', 'ft': 'c',
                \ 'lines': ['int main(void)', '{', '}', '/* vim: set ts=3: */']})
    CoVim join covim1abcdefghijk
    call WaitFor('bufname("%") =~# "^covim://"')
    call assert_equal('covim://abcdefgh/src/main.c', bufname('%'))
    call assert_equal(['int main(void)', '{', '}', '/* vim: set ts=3: */'], getline(1, '$'))
    call assert_equal(['acwrite', 0, 0, 0, 'c', 8], [&buftype, &swapfile,
                \ &undofile, &modeline, &filetype, &tabstop])
    call assert_equal(0, &modified)
    call assert_equal(['mine, not saved'], getbufline(l:mine, 1, '$'))
    call assert_equal(2, winnr('$'))
    " What came cannot be undone.
    silent! undo
    call assert_equal(4, line('$'))
    call setline(2, '{ int x;')
    call assert_equal('{ int x;', Agent().lines[1])
    call assert_match('already', join(Say('CoVim join covim1abcdefghijk')))
    " `:e!` has no file to read: the text stays.
    edit!
    call assert_equal('{ int x;', getline(2))
    call setline(3, '};')
    call assert_equal(['int main(void)', '{ int x;', '};', '/* vim: set ts=3: */'], Agent().lines)
    call assert_equal(0, covim#doc#stats().odd, Log())
endfunction

function! Test_join_takes_over_an_empty_window() abort
    call Ask('test/doc', {'path': 'a.py', 'lines': ['x = 1']})
    CoVim join covim1abcdefghijk
    call WaitFor('bufname("%") =~# "^covim://"')
    call assert_equal(1, winnr('$'))
    call assert_equal('python', &filetype)
endfunction

function! Test_write_of_joined_text() abort
    let l:dir = tempname()
    call mkdir(l:dir . '/elsewhere', 'p')
    call Ask('test/doc', {'path': 'sub/a.txt', 'lines': ['one', 'two'], 'eol': v:false})
    CoVim join covim1abcdefghijk
    call WaitFor('bufname("%") =~# "^covim://"')
    call setline(1, 'ONE')
    silent write
    call assert_match('g:covim_dir', Log())
    call assert_equal(1, &modified)
    let g:covim_dir = l:dir . '/root'
    write
    call assert_equal(0, &modified)
    call assert_equal(['ONE', 'two'], readfile(l:dir . '/root/sub/a.txt'))
    call assert_equal(7, getfsize(l:dir . '/root/sub/a.txt'))
    call setline(1, 'again')
    write
    call assert_equal('again', readfile(l:dir . '/root/sub/a.txt')[0])
    " Not over a file that was there, and not through a link.
    unlet b:covim_file
    write
    call assert_match('exists', Log())
    call delete(l:dir . '/root/sub', 'rf')
    call system('ln -s ' . l:dir . '/elsewhere ' . l:dir . '/root/sub')
    write
    call assert_match('leads out', Log())
    call assert_equal([], glob(l:dir . '/elsewhere/*', 1, 1))
    execute 'write' l:dir . '/by-name.txt'
    call assert_equal('again', readfile(l:dir . '/by-name.txt')[0])
    unlet g:covim_dir
endfunction

function! Test_a_knock_is_told_and_answered() abort
    call Share(['x'])
    let g:knocked = []
    augroup covim_test
        autocmd User CoVimKnock call add(g:knocked, g:covim_event.name)
    augroup END
    call s:notify('knock', {'session': 1, 'id': 4, 'name': 'bob',
                \ 'fingerprint': 'aa-bb', 'wants': 'editor', 'expires_s': 60})
    call s:notify('knock', {'session': 1, 'id': 5, 'name': 'eve',
                \ 'fingerprint': 'cc-dd', 'wants': 'editor', 'expires_s': 60})
    call WaitFor('len(covim#knocks()) == 2')
    call assert_equal(['bob', 'eve'], g:knocked)
    call assert_match('bob \[aa-bb\] wants to join', join(Popups()))
    call assert_match('co:? bob knocks', covim#statusline())
    call assert_equal(['bob'], covim#command#complete('b', 'CoVim accept b', 14))
    call assert_match('who? bob, eve', join(Say('CoVim accept')))
    call assert_match('no knock of zoe', join(Say('CoVim accept zoe')))
    CoVim accept bob readonly
    CoVim reject
    call WaitFor('empty(covim#knocks())')
    let l:log = Ask('test/log', {}).log
    let l:answers = filter(copy(l:log), 'v:val[0] =~# "accept\\|reject"')
    call assert_equal([['accept', {'id': 4, 'role': 'viewer'}],
                \ ['reject', {'id': 5}]], l:answers)
    call assert_notmatch('knocks', covim#statusline())
    call assert_match('nobody knocks', join(Say('CoVim accept')))
    call s:notify('knock', {'session': 1, 'id': 6, 'name': 'bob', 'fingerprint': '', 'wants': 'editor'})
    call WaitFor('!empty(covim#knocks())')
    call s:notify('knock', {'session': 1, 'id': 6, 'gone': v:true})
    call WaitFor('empty(covim#knocks())')
    let g:covim_auto_accept = ['11-22']
    call s:notify('knock', {'session': 1, 'id': 8, 'name': 'ann', 'fingerprint': '11-22', 'wants': 'editor'})
    call Ask('status', {})
    call WaitFor('!empty(Logged("accept"))')
    call assert_equal([], covim#knocks())
    unlet g:covim_auto_accept
    autocmd! covim_test
endfunction

function! Test_status_and_peers() abort
    call Share(['one', 'two'])
    call s:notify('session', {'session': 1, 'state': 'direct', 'stage': 'in step', 'elapsed_ms': 5, 'hint': ''})
    call s:notify('peer', {'session': 1, 'id': 7, 'name': 'bob', 'fingerprint': 'aa', 'role': 'editor',
                \ 'path': 'direct', 'rtt_ms': 24, 'state': 'joined'})
    call WaitFor('covim#statusline() ==# "co:2 direct 24ms"')
    call s:notify('peer', {'session': 1, 'id': 7, 'name': 'bob', 'fingerprint': 'aa', 'role': 'editor',
                \ 'path': 'gate', 'rtt_ms': 101, 'state': 'changed'})
    call WaitFor('covim#statusline() ==# "co:2 gate"')
    CoVim status
    call WaitFor('join(getline(1, "$")) =~# "peer *bob, editor, gate 101 ms"')
    normal q
    call s:notify('peer', {'session': 1, 'id': 7, 'name': 'bob', 'fingerprint': 'aa', 'role': 'editor',
                \ 'path': 'direct', 'rtt_ms': 24, 'state': 'changed'})
    call WaitFor('covim#statusline() ==# "co:2 direct 24ms"')
    call s:notify('presence', {'doc': Doc().doc, 'epoch': Doc().epoch, 'erev': 0, 'peers':
                \ [{'peer': 7, 'name': 'bob', 'colour': 1, 'ranges': [[2, 1, 2, 1]], 'mode': 'n'}]})
    call WaitFor('!empty(Doc().peers)')
    call assert_equal([{'name': 'bob', 'path': 'direct'}], b:covim.peers)
    call assert_equal('direct', b:covim.state)
    let l:buf = bufnr('%')
    CoVim peers
    call assert_match('^bob  *editor *untitled:2 *direct *24 ms  aa$', getline(1))
    normal q
    call assert_equal(l:buf, bufnr('%'))
    CoVim status
    call WaitFor('join(getline(1, "$")) =~# "dht *connected *network *a NAT of no kind"')
    call assert_match('fake-finger-print', join(getline(1, '$')))
    call assert_match('untitled, host', join(getline(1, '$')))
    normal q
    CoVim log
    call assert_match('bob joined', join(getline(1, '$')))
    normal q
    call s:notify('peer', {'session': 1, 'id': 7, 'name': 'bob', 'state': 'left'})
    call s:notify('session', {'session': 1, 'state': 'offline', 'stage': 'no path', 'elapsed_ms': 5, 'hint': 'check'})
    call WaitFor('covim#statusline() ==# "co:- offline"')
    call assert_match('no path (check)', join(Popups()))
endfunction

function! Test_unsynced_changes_are_shown() abort
    call Share(['one'])
    call Ask('test/hold', {'hold': v:true})
    call setline(1, 'two')
    call covim#backend('flush', bufnr('%'))
    call WaitFor('covim#statusline() =~# "1 unsynced"')
    call assert_equal(1, b:covim.unsynced)
    call assert_match('1 not on disk', covim#statusline())
    call Ask('test/hold', {'hold': v:false})
    call setline(1, 'three')
    call WaitFor('covim#statusline() !~# "unsynced\\|disk"')
endfunction

function! Test_leave_keeps_the_text() abort
    call Ask('test/doc', {'path': 'a.txt', 'lines': ['one']})
    CoVim join covim1abcdefghijk
    call WaitFor('bufname("%") =~# "^covim://"')
    call setline(1, 'two')
    CoVim disconnect
    call assert_equal({}, Doc())
    call assert_equal(['two'], getline(1, '$'))
    call assert_equal(1, &modifiable)
    call setline(1, 'three')
    let l:log = Ask('test/log', {}).log
    call assert_equal(1, len(filter(copy(l:log), 'v:val[0] ==# "leave"')))
    call assert_match('no session', join(Say('CoVim leave')))
    call assert_equal('', covim#statusline())
    call assert_equal({}, b:covim)
endfunction

function! Test_deleting_the_buffer_leaves() abort
    call Share(['one'])
    let l:buf = bufnr('%')
    enew
    execute 'bdelete!' l:buf
    call WaitFor('empty(covim#doc#all())')
    call WaitFor('!empty(Logged("leave"))')
endfunction

function! Test_a_viewer_cannot_type_but_receives() abort
    call Ask('test/doc', {'path': 'a.txt', 'lines': ['one'], 'role': 'viewer'})
    CoVim join covim1abcdefghijk
    call WaitFor('bufname("%") =~# "^covim://"')
    call assert_equal(0, &modifiable)
    call Remote([1, 0, 1, 0], 'X')
    call assert_equal(['Xone'], getline(1, '$'))
    call assert_equal(0, &modifiable)
    call s:notify('role', {'session': Doc().session, 'doc': Doc().doc, 'role': 'editor'})
    call WaitFor('&modifiable')
    CoVim leave
    call assert_equal(1, &modifiable)
endfunction

function! Test_resync_keeps_the_losing_text() abort
    call Share(['one', 'two', 'three'])
    call cursor(3, 2)
    call Ask('test/resync', {'doc': Doc().doc, 'lines': ['one', 'new', 'zwei', 'three'], 'reason': 'test'})
    call WaitFor('line("$") == 4')
    call assert_equal(['one', 'new', 'zwei', 'three'], getline(1, '$'))
    call assert_equal([4, 2], [line('.'), col('.')])
    let l:kept = filter(getbufinfo(), 'v:val.name =~# "covim-kept"')
    call assert_equal(1, len(l:kept))
    call assert_equal(['one', 'two', 'three'], getbufline(l:kept[0].bufnr, 1, '$'))
    call setline(1, 'ONE')
    call assert_equal(['ONE', 'new', 'zwei', 'three'], Agent().lines)
    call Remote([1, 0, 1, 0], 'x')
    call assert_equal('xONE', getline(1))
    call assert_match('set right (test)', join(Popups()))
endfunction

function! Test_resync_leaves_the_cursor_in_its_line() abort
    call Share(['one', 'two', 'three', 'four'])
    call cursor(3, 4)
    call Ask('test/resync', {'doc': Doc().doc, 'reason': 'test',
                \ 'lines': ['ONE', 'two', 'and', 'three', 'FOUR']})
    call WaitFor('line("$") == 5')
    call assert_equal([4, 4], [line('.'), col('.')])
endfunction

function! Test_a_difference_is_found_when_idle() abort
    call Share(['one', 'two'])
    let l:d = Doc()
    " As a fault would: a change that nobody hears of.
    let l:d.applying = 1
    call setline(2, 'TWO')
    call covim#backend('flush', bufnr('%'))
    let l:d.applying = 0
    call setline(1, 'one!')
    call WaitFor('getline(2) ==# "two"', 6.0)
    call assert_equal(['one!', 'two'], getline(1, '$'))
    call assert_equal(getline(1, '$'), Agent().lines)
endfunction

function! Test_an_edit_that_does_not_fit_is_refused_and_repaired() abort
    call Share(['one', 'two'])
    let l:d = Doc()
    let l:refused = covim#doc#stats().refused
    for l:range in [[9, 0, 9, 0], [1, 9, 1, 9], [2, 0, 1, 0], [1, 2, 1, 1], [0, 0, 0, 0], [1, 0], 'x']
        call covim#dispatch('edit', {'doc': l:d.doc, 'epoch': l:d.epoch, 'erev': l:d.erev,
                    \ 'range': l:range, 'text': 'x'})
    endfor
    call assert_equal(7, covim#doc#stats().refused - l:refused)
    call assert_equal(['one', 'two'], getline(1, '$'))
    call covim#dispatch('edit', {'doc': l:d.doc, 'epoch': l:d.epoch + 1, 'erev': l:d.erev,
                \ 'range': [1, 0, 1, 0], 'text': 'x'})
    call covim#dispatch('edit', {'doc': 999})
    call covim#dispatch('edit', {})
    call assert_equal(['one', 'two'], getline(1, '$'))
endfunction

" The rest of a long message may come late, while keys are typed.
function! Test_a_message_in_two_halves_arrives() abort
    call Share(['one'])
    let l:d = Doc()
    call Ask('test/send', {'pause_ms': 400, 'method': 'edit', 'params': {
                \ 'doc': l:d.doc, 'epoch': l:d.epoch, 'erev': l:d.erev,
                \ 'range': [1, 3, 1, 3], 'text': repeat(' two', 5000)}})
    call WaitFor('len(getline(1)) > 20000')
    let [l:d.rev, l:d.acked] = [0, 0]
endfunction

function! Test_a_stale_edit_is_dropped() abort
    call Share(['one', 'two'])
    let l:d = Doc()
    let l:edit = {'doc': l:d.doc, 'epoch': l:d.epoch, 'erev': l:d.erev,
                \ 'range': [1, 0, 1, 0], 'text': 'x'}
    call setline(1, 'ONE')
    call covim#dispatch('edit', l:edit)
    call assert_equal(['ONE', 'two'], getline(1, '$'))
    call assert_equal(0, l:d.rev)
    call assert_equal(1, l:d.erev)
endfunction

function! Test_the_end_of_the_file_travels() abort
    call Share(['one'])
    call s:notify('eol', {'doc': Doc().doc, 'epoch': Doc().epoch, 'eol': v:false})
    call WaitFor('!&endofline && !&fixendofline')
    set endofline fixendofline
    call covim#doc#eol_changed(bufnr('%'))
    call Agent()
    call assert_equal(['one'], Agent().lines)
    call assert_equal(1, Doc().eol)
endfunction

function! Test_reading_a_shared_file_again_is_a_change() abort
    let l:file = tempname()
    call writefile(['one', 'two', 'three'], l:file)
    execute 'edit' fnameescape(l:file)
    CoVim share
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    call Remote([1, 0, 1, 0], 'from afar ')
    call writefile(['one', 'two', 'by another program', 'three'], l:file)
    edit!
    call assert_equal(['one', 'two', 'by another program', 'three'], Agent().lines)
    call setline(1, 'typed')
    call assert_equal(['typed', 'two', 'by another program', 'three'], Agent().lines)
    call Remote([4, 0, 4, 0], 'y')
    call assert_equal('ythree', getline(4))
    call assert_equal(0, covim#doc#stats().odd, Log())
endfunction

function! s:kill() abort
    call system('kill -9 ' . covim#backend('pid'))
endfunction

function! Test_a_killed_agent_is_started_again() abort
    call Share(['one', 'two'])
    let l:pid = covim#backend('pid')
    call Remote([1, 0, 1, 0], 'x')
    call s:kill()
    call WaitFor('covim#rpc#state() ==# "waiting"')
    call assert_match('the agent ended.*your text stays', join(Popups()))
    call assert_match('no agent', covim#statusline())
    call assert_equal(['xone', 'two'], getline(1, '$'))
    call setline(2, 'typed meanwhile')
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    call assert_notequal(l:pid, covim#backend('pid'))
    call assert_equal(['xone', 'typed meanwhile'], Agent().lines)
    let l:log = Logged('resume')[0][1]
    call assert_match('^covim1', l:log.key)
    call setline(1, 'after')
    call assert_equal(['after', 'typed meanwhile'], Agent().lines)
    call Remote([2, 0, 2, 0], 'y')
    call assert_equal('ytyped meanwhile', getline(2))
    CoVim leave
    call assert_equal({}, Doc())
endfunction

function! Test_what_is_typed_during_resume_is_sent() abort
    call Share(['one', 'two'])
    let $FAKE_SLOW = 'resume'
    call s:kill()
    call WaitFor('covim#rpc#state() ==# "ready" && covim#backend("pid") != ' . covim#backend('pid'))
    call assert_equal('detached', Doc().state)
    call setline(1, 'a')
    call append(0, 'b')
    unlet $FAKE_SLOW
    call WaitFor('get(Doc(), "state", "") ==# "live"')
    call append('$', 'c')
    call assert_equal(['b', 'a', 'two', 'c'], Agent().lines)
endfunction

function! Test_a_killed_agent_goes_on_looking() abort
    call Ask('test/refuse', {'method': 'nothing', 'code': 1, 'message': '', 'hint': ''})
    call covim#session(77, {'key': 'covim1abcdefghijk', 'win': win_getid()})
    call s:kill()
    call WaitFor('bufname("%") =~# "^covim://"')
    call assert_equal('covim1abcdefghijk', b:covim.key)
endfunction

function! Test_an_agent_that_ends_at_once_is_not_started_in_a_loop() abort
    call Share(['one'])
    let l:command = g:covim_command
    let g:covim_command = ['false']
    call s:kill()
    let g:tries = 0
    sleep 700m
    " 0.2 s, then 1 s.
    call assert_equal('waiting', covim#rpc#state())
    let g:covim_command = l:command
    call WaitFor('get(Doc(), "state", "") ==# "live"')
endfunction

function! Test_the_old_vim_is_told_what_it_lacks() abort
    if has('nvim')
        return
    endif
    call assert_equal('', covim#vim#missing())
    call assert_match('it lacks patch 8.2.4684.*covim-requirements',
                \ covim#vim#missing([[0, 'patch 8.2.4684'], [1, 'x']]))
endfunction

call RunTests()

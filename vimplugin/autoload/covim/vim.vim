" covim#vim: what only Vim can do: its jobs, listeners, text properties,
" popups and states.  covim#nvim is its twin; covim#backend() chooses.

" What this Vim lacks, as a sentence, or ''.
function! covim#vim#missing(...) abort
    let l:needs = a:0 ? a:1 : [
                \ [has('patch-8.2.4684'), 'patch 8.2.4684'],
                \ [has('channel'), '+channel'], [has('job'), '+job'],
                \ [has('timers'), '+timers'], [has('textprop'), '+textprop'],
                \ [has('lambda'), '+lambda'], [exists('*listener_add'), 'listener_add()'],
                \ [exists('*sha256'), '+cryptv']]
    let l:missing = []
    for [l:ok, l:what] in l:needs
        if !l:ok
            call add(l:missing, l:what)
        endif
    endfor
    if empty(l:missing)
        return &encoding ==# 'utf-8' ? ''
                    \ : 'covim: ''encoding'' must be utf-8, it is ' . &encoding
    endif
    return 'covim: this is Vim ' . covim#vim#version()[4:] . ', it lacks '
                \ . join(l:missing, ', ') . ' (:help covim-requirements)'
endfunction

function! covim#vim#version() abort
    return printf('vim %d.%d.%d', v:version / 100, v:version % 100,
                \ exists('v:versionlong') ? v:versionlong % 10000 : 0)
endfunction

" The job.  {{{1

let s:job = v:null
let s:channel = v:null

function! covim#vim#start(cmd, generation) abort
    " stoponexit: the agent sees its stdin close when Vim ends, and leaves in
    " good order; noblock: a stopped agent must not stop Vim; nl: in the modes
    " that know JSON, Vim throws a message away of which the rest takes 100 ms.
    let s:job = job_start(a:cmd, {
                \ 'in_mode': 'nl', 'out_mode': 'nl', 'err_mode': 'nl',
                \ 'noblock': 1, 'stoponexit': '',
                \ 'out_cb': function('s:on_out', [a:generation]),
                \ 'err_cb': function('s:on_err', [a:generation]),
                \ 'close_cb': function('s:on_close', [a:generation])})
    let s:channel = job_getchannel(s:job)
    return job_status(s:job) !=# 'fail'
endfunction

function! s:on_out(generation, channel, line) abort
    call covim#rpc#on_line(a:generation, a:line)
endfunction

function! s:on_err(generation, channel, line) abort
    call covim#rpc#on_stderr(a:generation, a:line)
endfunction

function! s:on_close(generation, channel) abort
    call covim#rpc#on_exit(a:generation)
endfunction

function! covim#vim#send(line) abort
    try
        call ch_sendraw(s:channel, a:line)
    catch /^Vim\%((\a\+)\)\=:E\%(630\|631\|906\)/
        " The agent has just died; its close callback follows.
    endtry
endfunction

function! covim#vim#stop() abort
    if type(s:job) == v:t_job && job_status(s:job) ==# 'run'
        call covim#vim#close()
        call job_stop(s:job, 'term')
    endif
endfunction

" Waits until Expr() is true.
function! covim#vim#wait(timeout, Expr) abort
    let l:start = reltime()
    while !a:Expr() && reltimefloat(reltime(l:start)) * 1000 < a:timeout
        sleep 5m
    endwhile
endfunction

function! covim#vim#close() abort
    silent! call ch_close_in(s:channel)
endfunction

function! covim#vim#pid() abort
    return type(s:job) == v:t_job ? job_info(s:job).process : 0
endfunction

" Changes.  {{{1

let s:listeners = {}

function! covim#vim#attach(buf) abort
    call covim#vim#detach(a:buf)
    let s:listeners[a:buf] = listener_add(function('s:on_change'), a:buf)
endfunction

function! covim#vim#detach(buf) abort
    if has_key(s:listeners, a:buf)
        call listener_remove(remove(s:listeners, a:buf))
    endif
endfunction

" Only the list of changes is exact, the range before it is not when a batch
" holds several of them.
function! s:on_change(buf, start, end, added, changes) abort
    call covim#doc#changed(a:buf, a:changes)
endfunction

function! covim#vim#flush(buf) abort
    call listener_flush(a:buf)
endfunction

" Safe moments.  {{{1

" The event SafeState tells when Vim waits again.
function! covim#vim#mode_changed() abort
endfunction

" Whether the text of `buf` may change right now without harm to the command
" that the user is in the middle of.
function! covim#vim#safe(buf) abort
    if a:buf != bufnr('%') || get(g:, 'covim_apply_always', 0)
        return 1
    endif
    " Select mode cannot have its anchor moved.
    return state('S') ==# '' && mode() !~# "^[crsS!\<C-s>]"
                \ && !covim#in_block_insert()
endfunction

" Whether the next key is what Vim waits for.
function! covim#vim#waits() abort
    return state('S') ==# ''
endfunction

" A key that does nothing, for a Vim that waits and does not know it.  What has
" been typed of a command stays as it is; that of a mapping would not.
function! covim#vim#remind() abort
    if state('moaw') ==# '' && mode(1) =~# "^[nvV\<C-v>]$"
        call feedkeys("\<Ignore>", 'n')
    endif
endfunction

" Whether a window may be opened: the user is not in the middle of anything.
function! covim#vim#idle() abort
    return get(g:, 'covim_apply_always', 0) || state('S') ==# ''
                \ && mode(1) ==# 'n' && win_gettype() ==# ''
endfunction

" Edits.  {{{1

" Of so many properties it is found out which line they belong in, where an edit
" leaves lines in other places.
let s:props_max = 200

" Replaces lines `first` to `last` by `lines`.  `edit` is the same change in
" bytes: the text properties of other plugins move with it.  Returns whether
" it could be done.
function! covim#vim#replace(buf, first, last, lines, edit) abort
    let l:common = min([a:last - a:first + 1, len(a:lines)])
    let l:props = a:last < a:first ? []
                \ : prop_list(a:first, {'bufnr': a:buf, 'end_lnum': a:last})
    if has_key(a:edit, 'to') && len(l:props) > s:props_max
                \ && len(a:lines) != a:last - a:first + 1
        call filter(l:props, 'v:val.type =~# "^covim_"')
    endif
    let l:failed = 0
    " keepjumps: the change list and the '. mark are for the user's changes.
    if l:common > 0
        keepjumps let l:failed = setbufline(a:buf, a:first,
                    \ l:common == len(a:lines)
                    \ ? a:lines : a:lines[: l:common - 1])
    endif
    if len(a:lines) > l:common
        keepjumps let l:failed += appendbufline(a:buf, a:first + l:common - 1,
                    \ l:common == 0 ? a:lines : a:lines[l:common :])
    elseif a:last >= a:first + l:common
        keepjumps let l:failed += deletebufline(a:buf, a:first + l:common,
                    \ a:last)
    endif
    if !empty(l:props)
        call s:restore_props(a:buf, l:props, a:edit)
    endif
    return !l:failed
endfunction

function! s:restore_props(buf, props, edit) abort
    for l:prop in a:props
        if l:prop.id < 0
            " Virtual text does not say what it says: only ours comes back.
            if l:prop.type =~# '^covim_name'
                call s:restore_label(a:buf, l:prop, a:edit)
            endif
            continue
        endif
        let [l:l1, l:c1] = covim#apply#shift(l:prop.lnum, l:prop.col - 1,
                    \ a:edit, 0)
        let [l:l2, l:c2] = covim#apply#shift(l:prop.lnum,
                    \ l:prop.col - 1 + l:prop.length, a:edit, 1)
        if l:prop.length > 0 && [l:l1, l:c1] == [l:l2, l:c2]
            continue
        endif
        try
            call prop_add(l:l1, l:c1 + 1, {'bufnr': a:buf, 'id': l:prop.id,
                        \ 'type': l:prop.type, 'end_lnum': l:l2,
                        \ 'end_col': l:c2 + 1})
        catch /^Vim\%((\a\+)\)\=:E/
            " Its type was deleted, or it no longer fits: let it go.
        endtry
    endfor
endfunction

function! s:restore_label(buf, prop, edit) abort
    for l:was in values(get(s:drawn, a:buf, {}))
        if l:was.label == a:prop.id
            let l:was.line = covim#apply#shift(a:prop.lnum, l:was.item.col,
                        \ a:edit, 0)[0]
            let l:was.label = s:add_label(a:buf, l:was.line, l:was.item)
        endif
    endfor
endfunction

" Pointers of the others.  {{{1

" Per buffer and person: what is drawn now, and where.
let s:drawn = {}
let s:virtual_text = has('patch-9.0.0067')

function! s:prop_type(name) abort
    if empty(prop_type_get(a:name))
        let l:group = 'CoVim' . toupper(a:name[6]) . a:name[7:]
        call prop_type_add(a:name, {'highlight': l:group, 'combine': 1,
                    \ 'priority': a:name =~# 'select' ? 5
                    \ : a:name =~# 'blame' ? 1 : 20})
    endif
    return a:name
endfunction

" `list` holds {id, name, colour, line, col, from} with positions that exist;
" `from` is the other end of a selection or [].
function! covim#vim#draw(buf, list) abort
    let l:old = get(s:drawn, a:buf, {})
    let l:new = {}
    for l:item in a:list
        let l:was = get(l:old, l:item.id, {})
        if !empty(l:was) && l:was.item == l:item
            let l:new[l:item.id] = remove(l:old, l:item.id)
            continue
        endif
    endfor
    for l:was in values(l:old)
        call s:erase(a:buf, l:was)
    endfor
    for l:item in a:list
        if !has_key(l:new, l:item.id)
            let l:new[l:item.id] = s:paint(a:buf, l:item)
        endif
    endfor
    if empty(l:new)
        silent! unlet s:drawn[a:buf]
    else
        let s:drawn[a:buf] = l:new
    endif
endfunction

function! s:paint(buf, item) abort
    let l:item = a:item
    let l:was = {'item': l:item, 'line': l:item.line, 'label': 0, 'block': 0}
    let l:text = get(getbufline(a:buf, l:item.line), 0, '')
    if !empty(l:item.from)
        let [l:a, l:b] = [l:item.from, [l:item.line, l:item.col]]
        if l:a[0] > l:b[0] || l:a[0] == l:b[0] && l:a[1] > l:b[1]
            let [l:a, l:b] = [l:b, l:a]
        endif
        call prop_add(l:a[0], l:a[1] + 1, {'bufnr': a:buf, 'id': l:item.id,
                    \ 'type': s:prop_type('covim_select' . l:item.colour),
                    \ 'end_lnum': l:b[0], 'end_col': l:b[1] + 1})
    endif
    if l:item.col < len(l:text)
        let l:was.block = 1
        call prop_add(l:item.line, l:item.col + 1, {'bufnr': a:buf,
                    \ 'id': l:item.id, 'length':
                    \ len(matchstr(l:text, '.', l:item.col)),
                    \ 'type': s:prop_type('covim_cursor' . l:item.colour)})
    endif
    if s:virtual_text
        let l:was.label = s:add_label(a:buf, l:item.line, l:item)
    endif
    return l:was
endfunction

function! s:add_label(buf, line, item) abort
    return prop_add(a:line, 0, {'bufnr': a:buf,
                \ 'type': s:prop_type('covim_name' . a:item.colour),
                \ 'text': ' ' . a:item.name . ' ',
                \ 'text_align': 'after', 'text_wrap': 'truncate'})
endfunction

function! s:erase(buf, was) abort
    let l:colour = a:was.item.colour
    let l:last = get(get(getbufinfo(a:buf), 0, {}), 'linecount', 0)
    if l:last == 0 || !bufloaded(a:buf)
        return
    endif
    if a:was.block
        call s:remove_prop(a:buf, 'covim_cursor' . l:colour, a:was.item.id,
                    \ a:was.line, l:last)
    endif
    if a:was.label != 0
        call s:remove_prop(a:buf, 'covim_name' . l:colour, a:was.label,
                    \ a:was.line, l:last)
    endif
    if !empty(a:was.item.from)
        call s:remove_prop(a:buf, 'covim_select' . l:colour, a:was.item.id,
                    \ 0, l:last)
    endif
endfunction

function! s:remove_prop(buf, type, id, line, last) abort
    let l:what = {'type': a:type, 'id': a:id, 'both': 1, 'all': 1,
                \ 'bufnr': a:buf}
    " Nearly always still in its line; looking through all of them costs.
    if a:line < 1 || a:line > a:last || prop_remove(l:what, a:line) == 0
        call prop_remove(l:what, 1, a:last)
    endif
endfunction

" Lines have been inserted (or deleted, when negative) above `lnum`.
function! covim#vim#lines_moved(buf, lnum, added) abort
    call s:move_blamed(a:buf, a:lnum, a:added)
    for l:was in values(get(s:drawn, a:buf, {}))
        if l:was.line >= a:lnum
            let l:was.line += a:added
        endif
    endfor
endfunction

" Who wrote the lines.  {{{1

" Per buffer: the lines that may have such text.
let s:blamed = {}

function! covim#vim#can_blame() abort
    return s:virtual_text
endfunction

" `items` are [lnum, text, colour] of lines that exist; they replace the last.
function! covim#vim#blame(buf, items) abort
    let l:last = get(get(getbufinfo(a:buf), 0, {}), 'linecount', 0)
    if has_key(s:blamed, a:buf) && l:last > 0
        let [l:lo, l:hi] = remove(s:blamed, a:buf)
        let [l:lo, l:hi] = [min([l:lo, l:last]), min([l:hi, l:last])]
        for l:colour in range(9)
            let l:type = 'covim_blame' . l:colour
            if !empty(prop_type_get(l:type))
                call prop_remove({'type': l:type, 'all': 1, 'bufnr': a:buf},
                            \ l:lo, l:hi)
            endif
        endfor
    endif
    for [l:lnum, l:text, l:colour] in a:items
        call prop_add(l:lnum, 0, {'bufnr': a:buf,
                    \ 'type': s:prop_type('covim_blame' . l:colour),
                    \ 'text': '  ' . l:text, 'text_align': 'after',
                    \ 'text_wrap': 'truncate'})
    endfor
    if !empty(a:items)
        let s:blamed[a:buf] = [a:items[0][0], a:items[-1][0]]
    endif
endfunction

function! s:move_blamed(buf, lnum, added) abort
    if !has_key(s:blamed, a:buf)
        return
    endif
    let [l:lo, l:hi] = s:blamed[a:buf]
    if a:added < 0 && a:lnum + a:added <= l:lo
        let l:lo = max([1, l:lo + a:added])
    elseif a:added > 0 && a:lnum <= l:hi + 1
        let l:hi += a:added
    endif
    let s:blamed[a:buf] = [l:lo, l:hi]
endfunction

" Messages.  {{{1

" A popup that takes no key; `group` colours it.
function! covim#vim#popup(text, group, ms) abort
    call popup_notification([a:text], {'highlight': a:group, 'time': a:ms,
                \ 'maxwidth': max([20, &columns - 10]), 'wrap': 1})
endfunction

function! covim#vim#terminal(bytes) abort
    call echoraw(a:bytes)
endfunction

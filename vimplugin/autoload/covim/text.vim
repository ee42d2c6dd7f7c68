" covim#text: what a buffer holds, and whether that can be shared.

" Why these lines cannot be shared, or ''.  JSON would change an invalid byte
" silently, and a line with NUL has no form in the protocol.
function! covim#text#refusal(lines) abort
    if s:has_nul(a:lines)
        return 'the text holds NUL characters'
    endif
    return s:is_utf8(a:lines) ? '' : 'the text is not valid UTF-8'
endfunction

" Can these lines be sent as they are?
function! covim#text#is_sound(lines) abort
    return !s:has_nul(a:lines) && s:is_utf8(a:lines)
endfunction

" The line with U+FFFD for each byte that cannot be sent.
function! covim#text#mend(line) abort
    return join(map(split(a:line, '\zs'),
                \ 's:is_char(v:val) ? v:val : "\ufffd"'), '')
endfunction

" A byte that is no character comes as a string of that one byte.
function! s:is_char(char) abort
    let l:nr = char2nr(a:char)
    return a:char !=# "\n" && (l:nr < 0x80 || len(a:char) > 1)
                \ && (l:nr < 0xd800 || l:nr > 0xdfff)
endfunction

" Searching bytes, for a pattern takes seconds in a line of 1 MB.
function! s:has_nul(lines) abort
    return stridx(join(a:lines, ''), "\n") >= 0
endfunction

function! s:is_utf8(lines) abort
    try
        if json_decode(json_encode(a:lines)) !=# a:lines
            return 0
        endif
    catch
        return 0
    endtry
    " JSON lets surrogates through: 0xed and a byte from 0xa0 on.
    let l:text = join(a:lines, '')
    if stridx(l:text, "\xed") >= 0
        for l:second in s:surrogates
            if stridx(l:text, l:second) >= 0
                return 0
            endif
        endfor
    endif
    return 1
endfunction

let s:surrogates = map(range(0xa0, 0xbf), 'eval(printf("\"\\xed\\x%x\"", v:val))')

" The model of the end of a file: the text ends with LF unless the file has
" none and is to have none.
function! covim#text#eol(buf) abort
    return getbufvar(a:buf, '&eol') || (getbufvar(a:buf, '&fixeol')
                \ && !getbufvar(a:buf, '&binary'))
endfunction

function! covim#text#line_count(buf) abort
    return a:buf == bufnr('%') ? line('$')
                \ : get(get(getbufinfo(a:buf), 0, {}), 'linecount', 1)
endfunction

" What `share` and `resume` send: the whole text and how its file is written.
function! covim#text#snapshot(buf) abort
    return {'lines': getbufline(a:buf, 1, '$'),
                \ 'eol': covim#text#eol(a:buf) ? v:true : v:false,
                \ 'ft': getbufvar(a:buf, '&filetype'),
                \ 'ff': getbufvar(a:buf, '&fileformat'),
                \ 'fenc': getbufvar(a:buf, '&fileencoding'),
                \ 'bomb': getbufvar(a:buf, '&bomb') ? v:true : v:false}
endfunction

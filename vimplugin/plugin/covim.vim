" covim: edit text together, peer to peer.  Only defines commands: nothing
" is started before the first :CoVim.
if exists('g:loaded_covim') || &compatible
    finish
endif
let g:loaded_covim = 1

command! -nargs=* -bang -range -complete=customlist,covim#command#complete CoVim
            \ call covim#command#run(<bang>0, <q-args>,
            \ <range> ? [<line1>, <line2>] : [])

nnoremap <silent> <Plug>(covim-status) :<C-u>CoVim status<CR>
nnoremap <silent> <Plug>(covim-peers) :<C-u>CoVim peers<CR>
nnoremap <silent> <Plug>(covim-share) :<C-u>CoVim share<CR>
nnoremap <silent> <Plug>(covim-accept) :<C-u>CoVim accept<CR>
nnoremap <silent> <Plug>(covim-leave) :<C-u>CoVim leave<CR>
nnoremap <silent> <Plug>(covim-undo) <Cmd>call covim#undo#key('undo')<CR>
nnoremap <silent> <Plug>(covim-redo) <Cmd>call covim#undo#key('redo')<CR>
nnoremap <silent> <Plug>(covim-blame) :<C-u>CoVim blame<CR>
nnoremap <silent> <Plug>(covim-jump) :<C-u>CoVim jump<CR>
nnoremap <silent> <Plug>(covim-follow) :<C-u>CoVim follow<CR>
nnoremap <silent> <Plug>(covim-log) :<C-u>CoVim log<CR>

" Eight people can be told apart by colour, and all of them by their names.
function! s:highlights() abort
    let l:colours = [['2', '#5faf5f'], ['4', '#5f87d7'], ['5', '#af5faf'],
                \ ['3', '#d7af5f'], ['6', '#5fafaf'], ['1', '#d75f5f'],
                \ ['130', '#af8700'], ['60', '#8787af']]
    let l:n = 0
    for [l:cterm, l:gui] in l:colours
        let l:n += 1
        if l:cterm > &t_Co
            let l:cterm = l:cterm % 7 + 1
        endif
        execute 'highlight default CoVimCursor' . l:n
                    \ . ' term=reverse cterm=NONE gui=NONE ctermfg=0'
                    \ . ' ctermbg=' . l:cterm . ' guifg=#000000 guibg=' . l:gui
        execute 'highlight default CoVimBlame' . l:n
                    \ . ' ctermfg=' . l:cterm . ' guifg=' . l:gui
        execute 'highlight default link CoVimName' . l:n
                    \ . ' CoVimCursor' . l:n
        execute 'highlight default CoVimSelect' . l:n
                    \ . ' term=underline cterm=underline gui=underline'
                    \ . ' guisp=' . l:gui
    endfor
    highlight default link CoVimBlame0 Comment
    highlight default link CoVimKnock WarningMsg
    highlight default link CoVimOffline ErrorMsg
endfunction

call s:highlights()
augroup covim_highlights
    autocmd!
    autocmd ColorScheme * call s:highlights()
augroup END

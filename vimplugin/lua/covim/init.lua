-- What the Neovim back end does in Lua: on_lines, extmarks, a popup.
local M = {}
local api = vim.api
local namespace = api.nvim_create_namespace('covim')

-- Changes.  A number for each buffer: an older attachment ends itself.
-- Reading a file again ends it too; BufReadPost attaches anew.  `on_reload`
-- comes when such a reading is undone; without it this would end as well.
local attached = {}

function M.attach(buf)
    local mine = (attached[buf] or 0) + 1
    attached[buf] = mine
    api.nvim_buf_attach(buf, false, {
        on_lines = function(_, _, _, first, last, new_last)
            if attached[buf] ~= mine then
                return true
            end
            vim.fn['covim#doc#changed'](buf, {
                { lnum = first + 1, ['end'] = last + 1, added = new_last - last },
            })
        end,
        on_reload = function()
            if attached[buf] ~= mine then
                return true
            end
            vim.fn['covim#doc#replaced'](buf)
        end,
    })
end

function M.detach(buf)
    attached[buf] = (attached[buf] or 0) + 1
end

-- Pointers: three extmarks a person, numbered from their place in `drawn`.
local drawn = {}

local function mark(buf, id, line, col, opts)
    opts.id = id
    opts.strict = false
    pcall(api.nvim_buf_set_extmark, buf, namespace, line - 1, col, opts)
end

local function paint(buf, slot, item)
    local id = slot * 3
    local text = api.nvim_buf_get_lines(buf, item.line - 1, item.line, false)[1]
        or ''
    if item.col < #text then
        local width = #vim.fn.matchstr(text, '.', item.col)
        mark(buf, id + 1, item.line, item.col, {
            end_row = item.line - 1,
            end_col = item.col + width,
            hl_group = 'CoVimCursor' .. item.colour,
            priority = 210,
        })
    end
    mark(buf, id + 2, item.line, item.col, {
        virt_text = { { ' ' .. item.name .. ' ', 'CoVimName' .. item.colour } },
        virt_text_pos = 'eol',
    })
    if #item.from > 0 then
        local a, b = item.from, { item.line, item.col }
        if a[1] > b[1] or (a[1] == b[1] and a[2] > b[2]) then
            a, b = b, a
        end
        mark(buf, id + 3, a[1], a[2], {
            end_row = b[1] - 1,
            end_col = b[2],
            hl_group = 'CoVimSelect' .. item.colour,
            priority = 200,
        })
    end
end

function M.draw(buf, list)
    local old = drawn[buf] or { slots = {}, count = 0 }
    local new = { slots = {}, count = old.count }
    for _, item in ipairs(list) do
        new.slots[item.id] = true
    end
    for id, was in pairs(old.slots) do
        if not new.slots[id] then
            for i = 1, 3 do
                api.nvim_buf_del_extmark(buf, namespace, was.slot * 3 + i)
            end
        end
    end
    for _, item in ipairs(list) do
        local was = old.slots[item.id]
        if was and vim.deep_equal(was.item, item) then
            new.slots[item.id] = was
        else
            local slot = was and was.slot
            if slot then
                for i = 1, 3 do
                    api.nvim_buf_del_extmark(buf, namespace, slot * 3 + i)
                end
            else
                slot = new.count
                new.count = new.count + 1
            end
            paint(buf, slot, item)
            new.slots[item.id] = { slot = slot, item = item }
        end
    end
    drawn[buf] = next(new.slots) and new or nil
end

-- For tests: {line, text under the pointer} of each.
function M.pointers(buf)
    local found = {}
    local marks = api.nvim_buf_get_extmarks(buf, namespace, 0, -1,
        { details = true })
    for _, m in ipairs(marks) do
        local d = m[4]
        if d.hl_group and d.hl_group:match('^CoVimCursor') then
            local text = api.nvim_buf_get_lines(buf, m[2], m[2] + 1, false)[1]
            table.insert(found, { m[2] + 1, text:sub(m[3] + 1, d.end_col) })
        end
    end
    return found
end

-- Who wrote the lines: {line, text, colour} of each; they replace the last.
local authors = api.nvim_create_namespace('covim_blame')

function M.blame(buf, items)
    api.nvim_buf_clear_namespace(buf, authors, 0, -1)
    for _, item in ipairs(items) do
        pcall(api.nvim_buf_set_extmark, buf, authors, item[1] - 1, 0, {
            virt_text = { { ' ' .. item[2], 'CoVimBlame' .. item[3] } },
            virt_text_pos = 'eol',
            hl_mode = 'combine',
            priority = 1,
        })
    end
end

-- For tests: {line, text, group} of each.
function M.authors(buf)
    local found = {}
    for _, m in ipairs(api.nvim_buf_get_extmarks(buf, authors, 0, -1,
        { details = true })) do
        local text = m[4].virt_text[1]
        table.insert(found, { m[2] + 1, vim.trim(text[1]), text[2] })
    end
    return found
end

-- A window that takes no key, above the text, for some time.
local popups = {}

local function close(win)
    popups[win] = nil
    if api.nvim_win_is_valid(win) then
        api.nvim_win_close(win, true)
    end
end

-- For tests.
function M.close_popups()
    for win in pairs(popups) do
        close(win)
    end
end

function M.popup(text, group, ms)
    -- No window can be opened while a command line is being typed.
    if vim.fn.getcmdwintype() ~= '' then
        return
    end
    local width = math.max(1, math.min(vim.o.columns - 4,
        vim.fn.strdisplaywidth(text)))
    local height = math.ceil(vim.fn.strdisplaywidth(text) / width)
    local row = 1
    for win in pairs(popups) do
        if api.nvim_win_is_valid(win) then
            row = row + api.nvim_win_get_height(win)
        end
    end
    local buf = api.nvim_create_buf(false, true)
    api.nvim_buf_set_lines(buf, 0, -1, true, { text })
    vim.bo[buf].bufhidden = 'wipe'
    local ok, win = pcall(api.nvim_open_win, buf, false, {
        relative = 'editor', row = row, col = vim.o.columns - width - 1,
        width = width, height = height, style = 'minimal', focusable = false,
        noautocmd = true,
    })
    if not ok then
        return
    end
    api.nvim_win_set_option(win, 'wrap', true)
    api.nvim_win_set_option(win, 'winhighlight', 'Normal:' .. group)
    popups[win] = true
    vim.defer_fn(function() close(win) end, ms)
end

return M

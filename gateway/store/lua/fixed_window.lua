---- Fixed window: see gateway/core/algorithms/fixed_window.py ------------------------------------------------------
--
-- A string: format; time of the last charge; units used in its window; when the key ends, or nothing where an older
-- gateway wrote it.

local TALLY, SHORT_TALLY = '>BI7I4I7', '>BI7I4'

local BORDERS = 29 -- where the borders begin in the rule of a window by the calendar; others end before

local function fixed_window(key, cost, quota, window, _, _, rule)
  local used, ends, ahead, begin = 0, 0, false, 0
  for at = BORDERS, #rule - 13, 7 do
    local from, to = struct.unpack('>I7I7', rule, at)
    if at == BORDERS or from <= now then begin, window = from, to - from end
  end
  local border = window - (now - begin) % window -- beyond the borders, the outermost window repeats

  local packed = read(key, '18', 12, 0x31)
  if packed then
    local old = #packed < 19
    local _, last, its_used, its_end = struct.unpack(old and SHORT_TALLY or TALLY, packed)
    ahead = last >= now + border
    if last >= now + border - window then used = its_used end
    if not (old or ahead) then ends = its_end end
  end

  return used + cost > quota and border or 0, {function(_, calls, commit)
    if calls then used = used + calls * cost end
    if calls or commit and ahead then
      local lasts = ends >= now + border
      if not lasts then ends = now + border end
      local state = struct.pack(TALLY, 0x31, now, used, ends)
      if lasts then
        redis.call('SETRANGE', key, '0', state)
      else
        redis.call('SET', key, state, 'PX', ttl_ms(border))
      end
    end
    if used == 0 then return quota, 0, 0 end
    return used < quota and quota - used or 0, border, border
  end}, now + border - window
end

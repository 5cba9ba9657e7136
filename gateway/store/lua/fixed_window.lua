---- Fixed window: see gateway/core/algorithms/fixed_window.py ------------------------------------------------------
--
-- A string: format; time of the last charge; units used in its window.

local TALLY = '>BI7I4'

local BORDERS = 29 -- where the borders begin in the rule of a window by the calendar; others end before

local function fixed_window(key, cost, quota, window, _, _, rule)
  local used, ahead, begin = 0, false, 0
  for at = BORDERS, #rule - 13, 7 do
    local from, to = struct.unpack('>I7I7', rule, at)
    if at == BORDERS or from <= now then begin, window = from, to - from end
  end
  local border = window - (now - begin) % window -- beyond the borders, the outermost window repeats

  local packed = read(key, '11', 12, 0x31)
  if packed then
    local _, last, its_used = struct.unpack(TALLY, packed)
    ahead = last >= now + border
    if last >= now + border - window then used = its_used end
  end

  return used + cost > quota and border or 0, function(calls, commit)
    if calls then used = used + calls * cost end
    if calls or commit and ahead then
      redis.call('SET', key, struct.pack(TALLY, 0x31, now, used), 'PX', ttl_ms(border))
    end
    if used == 0 then return quota, 0, 0 end
    return math.max(0, quota - used), border, border
  end, now + border - window
end

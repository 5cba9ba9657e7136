---- Fixed window: see gateway/core/algorithms/fixed_window.py ------------------------------------------------------
--
-- A string: format; time of the last charge; units used in its window.

local TALLY = '>BI7I4'

local function fixed_window(key, cost, quota, window)
  local used, ahead = 0, 0
  local border = window - now % window

  local packed = read(key, '11', 0x31)
  if packed then
    local _, last, its_used = struct.unpack(TALLY, packed)
    ahead = math.floor(last / window) - math.floor(now / window)
    if ahead >= 0 then used = its_used end
  end

  return used + cost > quota and border or 0, function(charge, commit)
    if charge then used = used + cost end
    if charge or commit and ahead > 0 then
      redis.call('SET', key, struct.pack(TALLY, 0x31, now, used), 'PX', ttl_ms(border))
    end
    if used == 0 then return quota, 0, 0 end
    return math.max(0, quota - used), border, border
  end
end

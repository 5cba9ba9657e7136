---- Token bucket: see gateway/core/algorithms/token_bucket.py ------------------------------------------------------
--
-- A string: format; level in units times per, below 0 is owed; the time of that level; per.

local LEVEL = '>Bi7I7I6'

local function token_bucket(key, cost, quota, _, rate, per)
  local full, taken = quota * per, cost * per
  local level, settled = full, nil

  local packed = read(key, '20', 21, 0x21)
  if packed then
    local _, old_level, old_at, old_per = struct.unpack(LEVEL, packed)
    if old_at > now then
      settled, old_at = struct.pack(LEVEL, 0x21, old_level, now, old_per), now
    end
    if old_per ~= per then old_level = math.floor(old_level / old_per) * per end
    if old_level < 0 then old_level = math.max(old_level, -full, full + rate - 2 ^ 53) end
    -- Multiplies only a time that does not fill the bucket: so the product is exact.
    if (now - old_at) < (full - old_level) / rate then level = old_level + rate * (now - old_at) end
  end

  local lacking = math.max(0, taken - level)
  return (lacking + -lacking % rate) / rate, function(calls, commit)
    if calls then -- settle: any cost
      level = math.max(math.min(full, level - calls * taken), -full, full + rate - 2 ^ 53)
    end
    local missing, unit = full - level, per - (level > 0 and level % per or level)
    local full_in = (missing + -missing % rate) / rate
    if calls then -- until it is full: a full bucket need not be remembered
      redis.call('SET', key, struct.pack(LEVEL, 0x21, level, now, per), 'PX', ttl_ms(full_in))
    elseif commit and settled then
      redis.call('SET', key, settled, 'KEEPTTL')
    end
    if missing == 0 then return quota, 0, 0, 0 end
    return math.max(0, (level - level % per) / per), full_in, (unit + -unit % rate) / rate, missing
  end
end

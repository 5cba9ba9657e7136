---- Token bucket: see gateway/core/algorithms/token_bucket.py ------------------------------------------------------
--
-- A string: format; level in units times per, below 0 is owed; the time of that level; per; when the key ends, or nothing
-- where an older gateway wrote it. The key ends when the bucket has been full for as long as it took to fill, a second
-- at least: so that not every charge has to put that off, which costs more than to write.

local LEVEL, SHORT_LEVEL = '>Bi7I7I6I7', '>Bi7I7I6'

local function charge_bucket(bucket, calls, commit)
  local _, key, quota, rate, per, full, taken, level, ends, settled = unpack(bucket, 1, 10)
  if calls then -- settle: any cost
    level = level - calls * taken
    if level > full then level = full end
    if level < 0 then level = math.max(level, -full, full + rate - 2 ^ 53) end
  end
  local missing, unit = full - level, per - (level > 0 and level % per or level)
  local full_in = (missing + -missing % rate) / rate
  if calls then
    local lasts = ends >= now + full_in
    if not lasts then ends = now + full_in + math.max(full_in, 1000000) end
    local state = struct.pack(LEVEL, 0x21, level, now, per, ends)
    if lasts then
      redis.call('SETRANGE', key, '0', state)
    else
      redis.call('SET', key, state, 'PX', ttl_ms(ends - now))
    end
  elseif commit and settled then
    redis.call('SETRANGE', key, '0', settled)
  end
  if missing == 0 then return quota, 0, 0, 0 end
  return level > 0 and (level - level % per) / per or 0, full_in, (unit + -unit % rate) / rate, missing
end

local function token_bucket(key, cost, quota, _, rate, per)
  local full, taken = quota * per, cost * per
  local level, ends, settled = full, 0, nil

  local packed = read(key, '27', 21, 0x21)
  if packed then
    local old = #packed < 28
    local _, old_level, old_at, old_per, its_end = struct.unpack(old and SHORT_LEVEL or LEVEL, packed)
    if not old then ends = its_end end
    if old_at > now then
      settled, old_at, ends = struct.pack(SHORT_LEVEL, 0x21, old_level, now, old_per), now, 0
    end
    if old_per ~= per then old_level = math.floor(old_level / old_per) * per end
    if old_level < 0 then old_level = math.max(old_level, -full, full + rate - 2 ^ 53) end
    -- Multiplies only a time that does not fill the bucket: so the product is exact.
    if (now - old_at) < (full - old_level) / rate then level = old_level + rate * (now - old_at) end
  end

  local lacking = taken > level and taken - level or 0
  return (lacking + -lacking % rate) / rate, {charge_bucket, key, quota, rate, per, full, taken, level, ends, settled}
end

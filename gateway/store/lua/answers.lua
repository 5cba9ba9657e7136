---- Answers of upstreams that the fleet keeps: see gateway/core/cache/rules.py -------------------------------------------
--
-- Runs as one text behind clock.lua.
--
-- All keys of a room (core/cache/place.py) have one hash tag. What is kept there has a bound in bytes; what is of use
-- for the shortest time goes first.
--
-- KEYS[1]  sorted set `index`: member = shelf:variant of an answer, score = when it is of no use any more, in ms
-- KEYS[2]  hash `about`: by member its size in bytes, whose it is and what was asked for, with spaces between
-- KEYS[3]  string `bytes`: the sum of the sizes
-- and behind `base`: `s:SHELF`, a hash: `vary`, and by variant `stamp asked_us put_us`; `a:MEMBER`, an answer; `l:MEMBER`,
-- who fetches it, or what came of that; `c:TARGET`, when it was changed; `purged`, when an operator wanted answers gone
--
-- ARGV[1]  op      find, put, renew, release, forget, size or purge
-- ARGV[2]  now_us  0 = the server's clock; anything else is for tests
-- ARGV[3]  base    what the names of the other keys begin with
-- find:    ARGV[4] shelf, [5] variant, [6] vary and [7] stamp as far as the asker knows them, [8] target,
--          [9] who would fetch it ("" = nobody), [10] for how long others then wait, in ms, [11] 1 = also if it is there
--          Reply: now, whether the shelf is there, its vary, the stamp ("" = no answer), when it was put, the answer ("" if
--          the asker has it), who fetches it: `mine`, `theirs`, `own`, `failed` or ""
--          With another vary than the asker's, nothing but that: it asks again.
-- put:     ARGV[4] shelf, [5] variant, [6] vary, [7] stamp, [8] target, [9] how long ago it was asked for, [10] for how
--          long it is of use, in ms, [11] bound of all in bytes, [12] what is known about it, beginning with its size,
--          [13] the answer
--          Reply: now, 1 = it is kept; 0: it is too large, or was asked for before what is there, or before a change
-- renew:   ARGV[4] member, [5] who fetches it, [6] for how long others go on waiting, in ms
-- release: ARGV[4] member, [5] who fetched it, [6] what came of it ("" = nothing), [7] for how long that holds, in ms
-- forget:  ARGV[4] target
-- size:    Expired answers go, MOST_SWEPT of them at once.
--          Reply: now, how many answers there are, the sum of their sizes, 1 = more of them have expired
-- purge:   ARGV[4] whose ("" = anybody's), [5] what targets begin with, [6] how many members to pass over
--          Reply: now, how many went, how many to pass over next (-1 = that was all)

local DAY_MS, MOST_VARIANTS, MOST_EXPIRED, MOST_EVICTED, MOST_SWEPT, PIECE = 86400000, 32, 32, 64, 128, 500

local op, base = ARGV[1], ARGV[3]
local index, about, bytes = KEYS[1], KEYS[2], KEYS[3]
local now_ms = math.floor(now / 1000)

local function text(number)
  return string.format('%.0f', number)
end

local function drop(member)
  local shelf, variant = string.match(member, '^([^:]*):(.*)$')
  local known = redis.call('HGET', about, member)
  if known then redis.call('DECRBY', bytes, string.match(known, '^%d+')) end
  redis.call('HDEL', about, member)
  redis.call('ZREM', index, member)
  redis.call('DEL', base .. 'a:' .. member)
  redis.call('HDEL', base .. 's:' .. shelf, variant)
  if redis.call('HLEN', base .. 's:' .. shelf) < 2 then redis.call('DEL', base .. 's:' .. shelf) end
end

local function drop_expired(most)
  local expired = redis.call('ZRANGEBYSCORE', index, '-inf', text(now_ms), 'LIMIT', 0, most)
  for _, old in ipairs(expired) do drop(old) end
  return #expired
end

local function changed_at(target)
  return tonumber(redis.call('GET', base .. 'c:' .. target) or 0)
end

local function give_back(member, token)
  if token ~= '' and redis.call('GET', base .. 'l:' .. member) == 'by ' .. token then
    redis.call('DEL', base .. 'l:' .. member)
  end
end

local function fetched_by(member, token, for_ms)
  if token == '' then return '' end
  local who = redis.call('GET', base .. 'l:' .. member)
  if who == 'by ' .. token then return 'mine' end
  if who then return string.match(who, '^by ') and 'theirs' or who end
  redis.call('SET', base .. 'l:' .. member, 'by ' .. token, 'PX', for_ms)
  return 'mine'
end

if op == 'find' then
  local shelf, variant = ARGV[4], ARGV[5]
  local member = shelf .. ':' .. variant
  local vary = redis.call('HGET', base .. 's:' .. shelf, 'vary')
  if vary and vary ~= ARGV[6] then return {now, 1, vary, '', 0, '', ''} end
  local stamp, put_us, answer = '', 0, ''
  local known = vary and redis.call('HGET', base .. 's:' .. shelf, variant)
  if known then
    local named, asked, put = string.match(known, '^(%S+) (%d+) (%d+)$')
    if tonumber(asked) > changed_at(ARGV[8]) then
      answer = named == ARGV[7] and '' or redis.call('GET', base .. 'a:' .. member)
      if answer then stamp, put_us = named, tonumber(put) else answer = '' end
    end
  end
  local fetches = (stamp == '' or ARGV[11] == '1') and fetched_by(member, ARGV[9], ARGV[10]) or ''
  return {now, vary and 1 or 0, vary or '', stamp, put_us, answer, fetches}
end

if op == 'put' then
  local shelf, variant, vary, answer = ARGV[4], ARGV[5], ARGV[6], ARGV[13]
  local member, asked = shelf .. ':' .. variant, now - tonumber(ARGV[9])
  local size, most = tonumber(string.match(ARGV[12], '^%d+')), tonumber(ARGV[11])
  if asked <= changed_at(ARGV[8]) or asked <= tonumber(redis.call('GET', base .. 'purged') or 0) or size > most then
    return {now, 0}
  end
  local known = redis.call('HGET', base .. 's:' .. shelf, variant)
  if known and tonumber(string.match(known, '^%S+ (%d+)')) > asked then return {now, 0} end
  local before = redis.call('HGET', base .. 's:' .. shelf, 'vary')
  if before and before ~= vary then
    for _, other in ipairs(redis.call('HKEYS', base .. 's:' .. shelf)) do
      if other ~= 'vary' then drop(shelf .. ':' .. other) end
    end
  end
  drop(member)
  if redis.call('HLEN', base .. 's:' .. shelf) > MOST_VARIANTS then
    for _, other in ipairs(redis.call('HKEYS', base .. 's:' .. shelf)) do
      if other ~= 'vary' then
        drop(shelf .. ':' .. other)
        break
      end
    end
  end
  drop_expired(MOST_EXPIRED)
  for _ = 1, MOST_EVICTED do
    if tonumber(redis.call('GET', bytes) or 0) + size <= most then break end
    local first = redis.call('ZRANGE', index, 0, 0)[1]
    if not first then
      redis.call('DEL', bytes) -- a server that evicts keys has taken what this was the sum of
      break
    end
    drop(first)
  end
  if tonumber(redis.call('GET', bytes) or 0) + size > most then return {now, 0} end
  redis.call('HSET', base .. 's:' .. shelf, 'vary', vary, variant, ARGV[7] .. ' ' .. text(asked) .. ' ' .. text(now))
  redis.call('PEXPIRE', base .. 's:' .. shelf, DAY_MS)
  redis.call('SET', base .. 'a:' .. member, answer, 'PX', ARGV[10])
  redis.call('ZADD', index, now_ms + tonumber(ARGV[10]), member)
  redis.call('HSET', about, member, ARGV[12])
  redis.call('INCRBY', bytes, size)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 2 * DAY_MS) end
  return {now, 1}
end

if op == 'renew' then
  if redis.call('GET', base .. 'l:' .. ARGV[4]) == 'by ' .. ARGV[5] then
    redis.call('PEXPIRE', base .. 'l:' .. ARGV[4], ARGV[6])
  end
  return {now}
end

if op == 'release' then
  give_back(ARGV[4], ARGV[5])
  if ARGV[6] ~= '' then redis.call('SET', base .. 'l:' .. ARGV[4], ARGV[6], 'PX', ARGV[7], 'NX') end
  return {now}
end

if op == 'forget' then
  redis.call('SET', base .. 'c:' .. ARGV[4], text(now), 'PX', 2 * DAY_MS)
  return {now}
end

if op == 'size' then
  local more = drop_expired(MOST_SWEPT) == MOST_SWEPT
  return {now, redis.call('ZCARD', index), tonumber(redis.call('GET', bytes) or 0), more and 1 or 0}
end

-- purge
local pass, gone = tonumber(ARGV[6]), 0
if pass == 0 then redis.call('SET', base .. 'purged', text(now), 'PX', 2 * DAY_MS) end
local members = redis.call('ZRANGE', index, pass, pass + PIECE - 1)
for _, member in ipairs(members) do
  local whose, target = string.match(redis.call('HGET', about, member) or '', '^%d+ (%S+) (.*)$')
  local fits = whose and (ARGV[4] == '' or whose == ARGV[4]) and string.sub(target, 1, #ARGV[5]) == ARGV[5]
  if fits or not whose then
    drop(member)
    gone = gone + 1
  end
end
return {now, gone, #members == PIECE and pass + PIECE - gone or -1}

---- One token for all workers of all gateways ------------------------------------------------------------------------
--
-- What is kept is sealed: the server cannot read it. Who holds the lease asks the token endpoint, the others wait for
-- what it puts here. When the endpoint fails, the lease says so, and for how long nobody need ask.
--
-- Who was held up until the lease was another's changes nothing any more: a put and a fail are of one who knows the
-- newest version, while no other holds the lease.
--
-- KEYS[1]  hash: version, sealed, until_us
-- KEYS[2]  the lease: its owner, or ! and why the endpoint failed, which may end with a mark: a blank, #, hex digits
--
-- ARGV[1]  op       take: what is here if it is newer, else the lease, which its holder renews so; put: a token had since then;
--                   fail: the endpoint did; look: only what is here
-- ARGV[2]  now_us   0 = the server's clock; anything else is for tests
-- ARGV[3]  owner    who asks; of fail: for whom, too
-- ARGV[4]  version  the one that the asker knows
-- ARGV[5]  for_us   take: of the lease; put: how long the token lives; fail: how long nobody need ask
-- ARGV[6]  sealed   put: the token; fail: ! and why; take: a failure with a mark that is not in here holds up others, not the asker
-- ARGV[7]  keep_us  put: how long it is kept
--
-- Reply, an array:
--   reply.version  of the token, always growing, also over a loss of what is kept; 0 = there is none
--   reply.left_us  how long it still lives; 0 or less = not any more
--   reply.sealed
--   reply.mine     1: the asker holds the lease; of put: what it brought is kept
--   reply.holder   who does, or ! and why the endpoint failed; "" = nobody
--   reply.held_us  for how long yet

local token, lease, op, owner = KEYS[1], KEYS[2], ARGV[1], ARGV[3]
local for_us = tonumber(ARGV[5])
local mine = 0

local function overtaken()
  local holder = redis.call('GET', lease)
  local theirs = holder and holder ~= owner and string.sub(holder, 1, 1) ~= '!'
  return theirs or tonumber(redis.call('HGET', token, 'version') or '0') > tonumber(ARGV[4])
end

if op == 'put' and not overtaken() then
  mine = 1
  local version = math.max(tonumber(redis.call('HGET', token, 'version') or '0') + 1, now)
  redis.call('HSET', token, 'version', string.format('%.0f', version), 'sealed', ARGV[6],
    'until_us', string.format('%.0f', now + for_us))
  redis.call('PEXPIRE', token, ttl_ms(tonumber(ARGV[7])))
  redis.call('DEL', lease)
elseif op == 'fail' and not overtaken() then
  redis.call('SET', lease, ARGV[6], 'PX', ttl_ms(for_us))
end

local kept = redis.call('HMGET', token, 'version', 'sealed', 'until_us')
local version = tonumber(kept[1] or '0')
if op == 'take' and version <= tonumber(ARGV[4]) then
  local free = redis.call('SET', lease, owner, 'NX', 'PX', ttl_ms(for_us))
  local holder = redis.call('GET', lease)
  local mark = string.match(holder, '^!.* #(%x+)$')
  if mark and not string.find(ARGV[6], mark, 1, true) then
    redis.call('SET', lease, owner, 'PX', ttl_ms(for_us))
    free = true
  end
  if holder == owner then redis.call('PEXPIRE', lease, ttl_ms(for_us)) end
  if free or holder == owner then mine = 1 end
end
local holder = redis.call('GET', lease) or ''
local held_us = holder ~= '' and math.max(redis.call('PTTL', lease), 0) * 1000 or 0
return {version, tonumber(kept[3] or '0') - now, kept[2] or '', mine, holder, held_us}

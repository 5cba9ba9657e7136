---- The decision: see gateway/core/decision.py ---------------------------------------------------------------------
--
-- Decides every guard and every limit of one call together. What a guard holds back charges nobody; else all limits
-- are charged, or none is. Integers only, in and out.
--
-- KEYS[i]  partition of the i-th guard, and behind them of the i-th limit; on a Redis Cluster all carry one hash tag.
--
-- ARGV[1]  op        admit; peek: answer, but change nothing; several: admit calls of several callers, see below
-- ARGV[2]  now_us    0 = the server's clock; anything else is for tests
-- ARGV[3]  lease     names the slots that concurrency limits give to this call
-- ARGV[4]  guards    the rules of all guards, one behind the other, packed big-endian; fields and their bytes:
--   guard.kind        1  1 breaker, 2 pause
--   guard.most        2  breaker: how many probes may be out at once
--   guard.permit_us   6  breaker: when a probe is given up of which nothing is heard
--   guard.longest_us  6  the longest time a breaker is open, or a pause lasts
-- ARGV[4 + i]  the rule of the i-th limit, packed big-endian; fields and their bytes:
--   rule.algorithm  1  1 rolling window, 2 token bucket, 3 fixed window, 4 concurrency
--   rule.enforced   1  1 refuses, 0 is only recorded (shadow)
--   rule.cost       4  units, at most quota
--   rule.quota      4  units
--   rule.window_us  6  window or lease time
--   rule.a          6  rolling window: quantum_us; token bucket: rate
--   rule.b          6  token bucket: per_us
-- and behind them, for a fixed window by the calendar, some borders of its windows around now: 7 bytes each, rising.
-- Reply, packed big-endian; fields and their bytes:
--   reply.admitted  1  1: every enforced limit had room, and (unless peeking) every limit that had room was charged;
--                      2: a guard holds the call back, and nothing follows about the limits; 4 more: grants follow at
--                      the very end
--   reply.now_us    8  the clock at the decision
-- then for each limit, after its charge if it was charged, else the uncharged present:
--   verdict.admitted   1  1: the limit had room for the cost
--   verdict.remaining  8  units
--   verdict.reset_us   8  until every unit is back
--   verdict.more_us    8  until the next unit is back
--   verdict.retry_us   8  until this cost would be admitted
-- then for each guard, unless there is nothing to say about any of them:
--   standing.state       1  0 closed, 1 open, 2 half-open
--   standing.wait_us     8  until it would let the call through; 0 = it does
--   standing.generation  4  goes back with the outcome
--   standing.probe       8  names the permit of this call: of a breaker's probe; or, counted down to 1, of a call that
--                           an upstream still lets through, where it said how many; 0 = the call needs none
--   standing.urgent      1  1: report the outcome at once, also a good one
--   standing.moved       1  1: this call moved the breaker from open to half-open
-- then for each limit, if any of them is under a grant (see grant.lua): 4 bytes, the grant's quota; 0 = it is under none
--
-- Several: callers who are asked the same guards and limits, whatever their keys, which stand one caller's behind the
-- other's in KEYS. ARGV[3] says how many calls each of them makes, 2 bytes each; none of them has a lease. They are
-- decided one after the other, as if each had come alone. The reply is a list with one entry for each caller: of one
-- call its reply; of more calls two entries for each run of them that were decided alike, how many, and the reply to
-- the last of them (what the others are told follows from it, see gateway/core/runs.py; there verdict.reset_us of a
-- token bucket is what is missing, in units times per); or an error, which is this caller's own.
--
-- A refused call writes nothing, except once after the clock stepped back: so that its wait does not begin anew with
-- every call. Every key ends by itself when it has nothing to say any more or soon after (a rolling window's at most
-- two windows after the last charge, a token bucket's at most twice the time it takes to fill, or a second more), and
-- SLACK_MS later at most.

local RULE = '>BBI4I4I6I6I6'
local REPLY = '>BI8'
local VERDICT = '>BI8I8I8I8'
local STANDING = '>BI8I4I8BB'
local ANSWER = REPLY .. string.rep(VERDICT, #ARGV - 4)
local ALGORITHMS = {rolling_window, token_bucket, fixed_window, concurrency}

-- So many calls of one caller, whose keys are behind the first `skip`. Tables that grow are copied: so those of every
-- decision are made as large as two to four limits need them.
local function decide(skip, left)
  local commit, guards, limits = ARGV[1] ~= 'peek', #ARGV[4] / GUARD_BYTES, #ARGV - 4
  local runs, packed = left > 1 and {}, nil
  repeat -- for each run of calls
    local standings, held, enter
    if guards > 0 then
      local kept = redis.call('MGET', unpack(KEYS, skip + 1, skip + guards)) -- of another type: counts as nothing
      for i = 1, guards do
        if kept[i] and string.byte(kept[i], 2) ~= 0 then
          standings, held, enter = stand(kept, skip, commit)
          break
        end
      end
    end

    local asked = held and commit and 0 or limits
    local states, admitted, room, quotas = {nil, nil, nil, nil}, true, left, nil
    local reply = {
      0, now, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
    }
    for i = 1, asked do
      local key, rule = KEYS[skip + guards + i], ARGV[4 + i]
      local code, enforced, cost, quota, window, a, b = struct.unpack(RULE, rule)
      local algorithm = ALGORITHMS[code]
      local wait, state = algorithm(key, cost, quota, window, a, b, rule)
      if granted then -- it is the grant that was read: look where the counter is, see grant.lua
        granted = false
        local _, its_quota, ends = struct.unpack('>BI4I7', redis.call('GETRANGE', key, '0', '11'))
        local beside = key .. '!'
        if ends > now then
          if code == 2 then -- a rate changes in the same proportion, if that can be counted exactly
            local rate, per = a * its_quota, b * quota
            local exact, common, rest = rate < 2 ^ 53, rate, per
            while rest > 0 do common, rest = rest, common % rest end
            rate, per = rate / common, per / common
            if exact and math.max(rate, per) < 2 ^ 48 and rate + per + its_quota * per < 2 ^ 53 then
              a, b = rate, per
            else
              its_quota = quota
            end
          end
          quotas = quotas or {}
          quotas[i], cost = its_quota, math.min(cost, its_quota)
          local its_wait, its_state = algorithm(beside, cost, its_quota, window, a, b, rule)
          wait, state = its_wait, {function(_, calls, may_write)
            local remaining, reset, more, missing = its_state[1](its_state, calls, may_write)
            if calls then redis.call('PEXPIRE', key, math.max(ttl_ms(ends - now), redis.call('PTTL', beside))) end
            return remaining, reset, more, missing
          end}
        else
          if commit then -- it has ended
            redis.call('DEL', key)
            if redis.call('PTTL', beside) ~= -2 then redis.call('RENAME', beside, key) end
          end
          wait, state = algorithm(commit and key or beside, cost, quota, window, a, b, rule)
        end
      end
      states[i], reply[5 * i + 2] = state, wait
      if wait == 0 then
        if left > 1 then room = math.min(room, math.floor(state[1](state) / cost)) end
      elseif enforced == 1 then
        admitted = false
      end
    end

    admitted = admitted and not held
    local charging = commit and admitted
    local calls = charging and (enter and 1 or room) or left
    reply[1] = held and commit and 2 or admitted and 1 or 0
    for i = 1, asked do
      local at, state, missing = 5 * i - 2, states[i], nil
      local has_room = reply[at + 4] == 0
      reply[at] = has_room and 1 or 0
      reply[at + 1], reply[at + 2], reply[at + 3], missing = state[1](state, charging and has_room and calls, commit)
      if runs and missing then reply[at + 2] = missing end
    end
    if quotas then reply[1] = reply[1] + 4 end
    packed = struct.pack(asked < limits and REPLY or ANSWER, unpack(reply, 1, 2 + 5 * asked))
    if standings then
      if charging and enter then enter() end
      for i = 1, #standings, 6 do packed = packed .. struct.pack(STANDING, unpack(standings, i, i + 5)) end
    end
    if quotas then
      for i = 1, limits do packed = packed .. struct.pack('>I4', quotas[i] or 0) end
    end

    left = left - calls
    if runs then runs[#runs + 1], runs[#runs + 2] = calls, packed end
  until left == 0
  return runs or packed
end

if ARGV[1] ~= 'several' then return decide(0, 1) end

local answers, each = {}, #KEYS / (#ARGV[3] / 2)
for at = 1, #ARGV[3], 2 do
  local caller = #answers
  local ended, answer = pcall(decide, caller * each, (struct.unpack('>I2', ARGV[3], at)))
  if not ended then
    granted, answer = false, type(answer) == 'table' and answer or {err = 'ERR ' .. tostring(answer)}
  end
  answers[caller + 1] = answer
end
return answers

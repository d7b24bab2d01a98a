-- The load on the servers of HTTP, a script for wrk. Three numbers are in the environment: the connections, the requests that each of them
-- sends at a time, and the bytes to post, 0 for GET. Prints one line of JSON.

local connections = tonumber(os.getenv('SLUICE_BENCH_CONNECTIONS'))
local depth = tonumber(os.getenv('SLUICE_BENCH_DEPTH'))
local body = tonumber(os.getenv('SLUICE_BENCH_BODY'))

if body > 0 then
  wrk.method = 'POST'
  wrk.body = string.rep('x', body)
end

local requests

function init()
  requests = string.rep(wrk.format(), depth)
end

function request()
  return requests
end

-- Where a latency is more than twice the average, wrk adds the latencies that requests in the meantime would have had: the same less once,
-- twice and so on the average. For pipelined requests it adds far too many. They are subtracted here.
local function measured_p99(summary, latencies)
  local average = math.floor(summary.duration / math.floor(summary.requests / connections))
  local slower = summary.requests / depth / 100
  local counts = {}
  for i = #latencies, 1, -1 do
    local latency, count = latencies(i)
    counts[latency] = count
    if latency > average then count = count - (counts[latency + average] or 0) end
    slower = slower - count
    if slower <= 0 then return latency end
  end
  return latencies.max
end

function done(summary, latencies)
  local errors = summary.errors
  print(string.format('{ "requests": %d, "bytes": %d, "seconds": %f, "p99": %f, "errors": %d }',
    summary.requests, summary.bytes, summary.duration / 1e6, measured_p99(summary, latencies) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end

// The bench's processes: structures over a pair of sockets, the machine being one and the same.
#include "runner/bench_worker.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "runner/fault.h"
#include "runner/roofline.h"
#include "runner/sampler.h"
#include "runner/threads.h"

namespace pocketlm {
namespace {

struct Request {
  Task task;
  int64_t position, tokens;
};

struct Answer {
  Result result;
  int32_t code = 0;  // an ExitCode
  char error[1024] = "";
};

bool transfer(auto call, int channel, void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t count = call(channel, static_cast<char*>(data) + done, size - done);
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

// What the worker's process does with a request.
class Bench {
 public:
  Bench(const ModelOptions& options, int threads) : options_(options), threads_(threads), random_(uint64_t{1}) {}

  Result perform(const Request& request) {
    Result result;
    if (request.task == Task::load) load(result);
    if (request.task == Task::bandwidth) result.value = read_bandwidth(threads_);
    if (request.task == Task::int8_peak) result.value = int8_peak(threads_);
    const double start = now_ms();
    if (request.task == Task::fill) model_->run(ids(request.tokens), request.position);
    if (request.task == Task::prefill) next_ = likeliest(model_->run(ids(request.tokens), request.position));
    if (request.task == Task::decode) decode(request.position, request.tokens);
    if (request.task == Task::fill || request.task == Task::prefill || request.task == Task::decode) {
      result.value = now_ms() - start;
    }
    result.memory = read_memory();
    return result;
  }

 private:
  void load(Result& result) {
    set_threads(threads_);
    model_ = std::make_unique<Model>(options_);
    const ModelFacts& facts = model_->facts();
    result.load = model_->load_times();
    result.chunk = facts.chunk;
    result.context = facts.context;
    result.vocab_size = facts.vocab_size;
    result.bytes = facts.bytes;
    result.planned_bytes = facts.planned_bytes;
    result.is_bounded = facts.is_bounded;
    result.is_cache_reused = model_->is_cache_reused();
  }

  // Each new id needs the one before, as in a chat.
  void decode(int64_t position, int64_t tokens) {
    for (int64_t i = 0; i < tokens; ++i) next_ = likeliest(model_->run({&next_, 1}, position + i));
  }

  std::vector<int64_t> ids(int64_t count) {
    std::vector<int64_t> ids(static_cast<size_t>(count));
    for (int64_t& id : ids) id = static_cast<int64_t>(random_.next() % static_cast<uint64_t>(model_->facts().vocab_size));
    return ids;
  }

  ModelOptions options_;
  int threads_;
  std::unique_ptr<Model> model_;
  Xoshiro256 random_;
  int64_t next_ = 0;
};

void answer_requests(int channel, const ModelOptions& options, int threads) {
  Bench bench(options, threads);
  Request request;
  while (transfer(read, channel, &request, sizeof request)) {
    Answer answer;
    const auto failed = [&](ExitCode code, const char* what) {
      answer.code = static_cast<int32_t>(code);
      std::strncpy(answer.error, what, sizeof answer.error - 1);
    };
    try {
      answer.result = bench.perform(request);
    } catch (const Fault& fault) {
      failed(fault.code, fault.what());
    } catch (const std::bad_alloc&) {
      failed(ExitCode::no_memory, "not enough memory; close other programs");
    }
    if (!transfer(write, channel, &answer, sizeof answer)) return;
  }
}

}  // namespace

Worker::Worker(const ModelOptions& options, int threads) : threads_(threads) {
  int channels[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channels) != 0 || (process_ = fork()) < 0) {
    throw Fault(ExitCode::environment, "the bench cannot start its processes; close other programs");
  }
  if (process_ == 0) {
    close(channels[0]);
    answer_requests(channels[1], options, threads);
    _exit(0);
  }
  close(channels[1]);
  channel_ = channels[0];
}

Worker::~Worker() {
  close(channel_);
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
}

Result Worker::ask(Task task, int64_t position, int64_t tokens) {
  Request request{task, position, tokens};
  Answer answer;
  signal(SIGPIPE, SIG_IGN);  // a dead worker is said below
  if (!transfer(write, channel_, &request, sizeof request) || !transfer(read, channel_, &answer, sizeof answer)) {
    throw Fault(ExitCode::no_memory, "the bench's process with " + std::to_string(threads_) +
                                         " threads died; was there not enough memory? Try one number of threads, or "
                                         "look into the system's log");
  }
  if (answer.code != 0) throw Fault(static_cast<ExitCode>(answer.code), answer.error);
  return answer.result;
}

}  // namespace pocketlm

// What `ProcessGroupGloo.hpp` of libtorch needs of gloo's own headers, which its wheel does not have: names, and the one virtual
// class it derives from (as in gloo/rendezvous/store.h). No object of these is made here: libtorch makes them all.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace rendezvous {
class Store {
 public:
  virtual ~Store();
  virtual void set(const std::string &key, const std::vector<char> &data) = 0;
  virtual std::vector<char> get(const std::string &key) = 0;
  virtual void wait(const std::vector<std::string> &keys) = 0;
  virtual void wait(const std::vector<std::string> &keys, const std::chrono::milliseconds &timeout) = 0;
};
} // namespace rendezvous

namespace transport {
class Device;
class UnboundBuffer;
} // namespace transport

} // namespace gloo

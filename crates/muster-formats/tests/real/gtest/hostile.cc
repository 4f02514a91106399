// Tests that are as unkind to a reader of Googletest's output as real ones are.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

TEST(Plain, Passes) {}
TEST(Plain, Fails) {
  std::puts("what it printed");
  EXPECT_EQ(1 + 1, 3) << "sums are off";
  EXPECT_TRUE(false);
}
TEST(Plain, Skips) { GTEST_SKIP() << "not today"; }
TEST(Plain, DISABLED_IsDisabled) { FAIL(); }
TEST(Plain, PrintsWithoutNewline) { std::printf("no newline"); }
TEST(Plain, PrintsWhatLooksLikeAVerdict) {
  std::puts("[       OK ] Plain.Passes (0 ms)");
  std::puts("[  FAILED  ] Plain.Fails (0 ms)");
  std::puts("[ RUN      ] Plain.ComesLater");
}
TEST(Plain, ComesLater) {}
TEST(Plain, Throws) { throw std::runtime_error("thrown"); }
TEST(Plain, ToStderr) { std::fputs("to stderr\n", stderr); }

TEST(Crashes, A) {}
TEST(Crashes, B) { std::abort(); }
TEST(Crashes, C) {}
TEST(Crashes, D) { _exit(0); }
TEST(Crashes, E) {}

class WithParam : public testing::TestWithParam<std::string> {};
TEST_P(WithParam, Works) { EXPECT_NE(GetParam(), "bad"); }
INSTANTIATE_TEST_SUITE_P(Inst, WithParam, testing::Values("a b", "bad", "new\nline", "x  # GetParam() = y"));

template <typename T>
class Typed : public testing::Test {};
using Types = testing::Types<int, std::string>;
TYPED_TEST_SUITE(Typed, Types);
TYPED_TEST(Typed, HasSize) { EXPECT_GT(sizeof(TypeParam), 0u); }

class SetUpFails : public testing::Test {
 protected:
  static void SetUpTestSuite() { FAIL() << "no fixture"; }
};
TEST_F(SetUpFails, Anyway) {}

class TearDownFails : public testing::Test {
 protected:
  static void TearDownTestSuite() { ADD_FAILURE() << "cannot clean up"; }
};
TEST_F(TearDownFails, Before) {}

// A leak checker's way to fail: after the last test has passed.
struct AtExit {
  ~AtExit() {
    if (std::getenv("FAIL_AT_EXIT")) {
      std::fputs("leaks found\n", stderr);
      std::fflush(stderr);
      _exit(23);
    }
  }
} at_exit;

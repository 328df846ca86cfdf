// Held-out losses of books17m against its golden file, within 1e-4 nats.
#include "tests/eval/held_out.h"

namespace lacuna {
namespace {

using namespace test;

TEST(HeldOut, Books) {
  const std::string books = unpacked(data_folder() + "/gutenberg_more_books.txt.xz");
  expect_held_out("books", book(books, 10) + book(books, 30));
}

TEST(HeldOut, WikiText2) {
  expect_held_out("wikitext2_valid", read_file(data_folder() + "/wikitext-2/valid.txt", 1 << 24));
}

TEST(HeldOut, Shakespeare) {
  const std::string all = read_file(data_folder() + "/tinyshakespeare/input.txt", 1 << 24);
  expect_held_out("shakespeare_tail", last_characters(all, 100'000));
}

TEST(HeldOut, Stories) {
  const std::string all = read_file(data_folder() + "/tinystories/tinystories_train_head.txt", 1 << 24);
  expect_held_out("stories_tail", last_characters(all, 90'000));
}

}  // namespace
}  // namespace lacuna

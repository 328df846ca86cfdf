// lacuna: the part of the program without torch and MPI. `train` and `recipe` are handed to lacuna-train.
#include "launch/dispatch.h"
#include "launch/handover.h"
#include "launch/verb.h"

int main(int argc, char** argv) {
  std::vector<lacuna::Verb> all = lacuna::verbs();
  for (const lacuna::Verb& verb : lacuna::handed_verbs()) all.push_back(verb);
  return lacuna::run_program(all, argc, argv);
}

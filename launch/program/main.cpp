// lacuna: the part of the program without torch and MPI. `train` and `recipe` are handed to lacuna-train.
#include "launch/verb.h"

#include "launch/dispatch.h"

int main(int argc, char** argv) { return lacuna::run_program(lacuna::verbs(), argc, argv); }

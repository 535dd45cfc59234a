/* MESSAGE_IDs of the journal lines that both daemons write; units/mqd.catalog explains them. */
#pragma once

#define COMMON_MSG_RELOAD_FAILED "3e771be7fc494ababb3efeac3eece891"
#define COMMON_MSG_NEEDS_RESTART "b7c5423f21154c568893b0e3ac525218"
#define COMMON_MSG_CONFIG_REFUSED "d20dec5f27d143c2a7f7463c0f50cfd4"
#define COMMON_MSG_FAILED "04c32eb61a2c44bbaa9c9ee5c7e09e5a" /* field ERRNO */

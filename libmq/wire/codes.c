#include "libmq/wire/codes.h"

#include <stddef.h>

#define CODE_NAME(name, number) \
	case number:            \
		return #name;

const char *mq_request_name(int code)
{
	switch (code) {
		MQ_REQUEST_CODES(CODE_NAME)
	}
	return NULL;
}

const char *mq_response_name(int code)
{
	switch (code) {
		MQ_RESPONSE_CODES(CODE_NAME)
	}
	return NULL;
}
